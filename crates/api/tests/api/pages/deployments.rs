//! The list of deployments, one deployment, its log and its buttons.

use slipway_core::{
    access::{ProjectRole, SystemRole},
    deployment::{
        reason::{Code, Reason},
        status::Transition,
        step::Phase,
    },
};

use crate::{app::TestApp, scene::Run};

const TRAP: &str = "<img src=x onerror=alert(1)>";
const SPRUNG: &str = "&#60;img src=x onerror=alert(1)&#62;";

fn failed() -> Transition {
    Transition::Fail(Reason::new(
        Code::StepFailed,
        "The step install failed with exit code 1.",
    ))
}

#[tokio::test]
async fn the_list_has_pages_and_filters() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    app.project("api").await;
    for _ in 0..51 {
        app.deployment("web", None).await;
    }
    app.deployment("api", None).await;
    let client = app.admin().await;
    let page = client.get("/deployments").await;
    assert_eq!(page.body.matches("class=\"row-link\"").count(), 50);
    let next = page.attribute("<nav class=\"paging\" aria-label=\"Pages\"><a href=\"");
    let page = client.get(&next.replace("&#38;", "&")).await;
    assert_eq!(page.body.matches("class=\"row-link\"").count(), 2);
    page.shows(">Newest</a>");
    page.hides(">Older</a>");

    let page = client.get("/deployments?project=api").await;
    assert_eq!(page.body.matches("class=\"row-link\"").count(), 1);
    page.shows("href=\"/deployments?project=api&#38;status=failed\"");
    client
        .get("/deployments?status=failed")
        .await
        .shows("No deployments here");
    let page = client.get("/deployments?status=queued&project=api").await;
    page.shows("aria-current=\"true\">Queued");
    assert_eq!(client.get("/deployments?status=odd").await.status, 422);
    assert_eq!(client.get("/deployments?project=nothing").await.status, 404);

    let outsider = app.client_as(SystemRole::Developer).await;
    outsider
        .get("/deployments")
        .await
        .shows("No deployments here");
    app.member("api", outsider.actor(), ProjectRole::Member)
        .await;
    let page = outsider.get("/deployments").await;
    assert_eq!(page.body.matches("class=\"row-link\"").count(), 1);
}

#[tokio::test]
async fn nothing_that_anybody_wrote_becomes_markup() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let change = slipway_core::project::service::ProjectChange {
        name: Some(TRAP.parse().unwrap()),
        ..Default::default()
    };
    let now = slipway_core::db::now();
    slipway_core::project::service::update(&app.ctx, &app.admin, "web", change, now)
        .await
        .unwrap();
    app.create_user("trap@example.com", TRAP, SystemRole::Manager)
        .await;
    let client = app.client_of("trap@example.com").await;
    let fields = [
        ("target", "production"),
        ("note", TRAP),
        ("ref", "<img/src=x/onerror=a>"),
    ];
    client
        .submit("/projects/web", "/projects/web/deploy", &fields)
        .await
        .leads_to("/deployments/1");
    let mut run = Run::begin(&app, slipway_core::id::DeploymentId(1)).await;
    run.found(TRAP, TRAP).await;
    let steps = run.plan(&[(Phase::Build, TRAP)]).await;
    run.step(&steps[0]).await;
    run.write(Some(&steps[0]), &[TRAP, &format!("\u{1b}[31m{TRAP}")])
        .await;
    run.end(&Transition::Fail(Reason::new(Code::StepFailed, TRAP)))
        .await;
    for path in [
        "/",
        "/projects/web",
        "/deployments",
        "/deployments/1",
        "/deployments/1/fragment",
    ] {
        let page = client.get(path).await;
        page.hides("<img src=x");
        page.hides("<img/src");
        page.shows(SPRUNG);
    }
    let page = client.get("/deployments/1").await;
    // Bar, crumbs, subject, author, note, reason, step, heading, lines, requester, title.
    assert!(page.body.matches(SPRUNG).count() >= 10, "{}", page.body);
}

#[tokio::test]
async fn a_running_deployment_shows_its_commit_steps_and_output() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", Some("for Ann")).await;
    let mut run = Run::begin(&app, id).await;
    run.found("Make it fast", "Zoë").await;
    let steps = run
        .plan(&[(Phase::Checkout, "checkout"), (Phase::Build, "install")])
        .await;
    run.step(&steps[0]).await;
    run.write(None, &["Fetching main"]).await;
    run.step_ended(&steps[0], 0).await;
    run.step(&steps[1]).await;
    run.write(
        Some(&steps[1]),
        &["plain", "\u{1b}[1;32mgreen\u{1b}[0m rest"],
    )
    .await;
    let page = app.admin().await.get(&format!("/deployments/{id}")).await;
    page.shows("<span class=\"badge is-running\">Running</span>");
    page.shows("<code class=\"commit\" title=\"0123456789abcdef0123456789abcdef01234567\">0123456789</code>");
    for told in [
        "Make it fast",
        "by Zoë",
        "for Ann",
        "exit 0",
        "Attempt 1",
        "data-open=\"true\"",
    ] {
        page.shows(told);
    }
    page.shows("<span class=\"text\">plain</span>");
    page.shows("<span class=\"text\"><span class=\"a-b a-f2\">green</span> rest</span>");
    page.shows("<div class=\"log-step\">install</div>");
    page.shows("<div class=\"line ours\" id=\"L1\">");
    page.shows("href=\"#L3\"");
    page.shows("data-last=\"3\"");
    page.shows(&format!("action=\"/deployments/{id}/cancel\""));
    let fragment = app
        .admin()
        .await
        .get(&format!("/deployments/{id}/fragment"))
        .await;
    fragment.shows("id=\"overview\"");
    fragment.shows("id=\"steps\"");
    fragment.hides("<html");
    fragment.hides("class=\"line");
}

#[tokio::test]
async fn a_long_log_shows_its_end_and_offers_the_whole() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let mut run = Run::begin(&app, id).await;
    for part in 0..7 {
        let lines: Vec<String> = (1..=300)
            .map(|n| format!("line {}", part * 300 + n))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        run.write(None, &lines).await;
    }
    let client = app.admin().await;
    let page = client.get(&format!("/deployments/{id}")).await;
    assert_eq!(page.body.matches("class=\"line ours\"").count(), 2000);
    page.hides("id=\"L100\"");
    page.shows("id=\"L101\"");
    page.shows("id=\"L2100\"");
    page.shows("<p id=\"log-earlier\" class=\"dim\">");
    let log = client.get(&format!("/api/v1/deployments/{id}/log")).await;
    assert_eq!(log.body.lines().count(), 2100);
}

#[tokio::test]
async fn a_queued_deployment_says_what_it_waits_for() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let ids = [
        app.deployment("web", None).await,
        app.deployment("web", None).await,
        app.deployment("web", None).await,
    ];
    let client = app.admin().await;
    let page = client.get(&format!("/deployments/{}", ids[0])).await;
    page.shows("No worker is running.");
    page.shows("No output yet.");
    let page = client.get(&format!("/deployments/{}", ids[2])).await;
    page.shows("Waits for 2 older deployments of this target.");
    let run = Run::begin(&app, ids[0]).await;
    let page = client.get(&format!("/deployments/{}", ids[1])).await;
    page.shows("of the same target is running.");
    page.shows(&format!(
        "<a href=\"/deployments/{0}\">#{0}</a> has the target.",
        ids[0]
    ));
    let later = Transition::RetryLater {
        reason: Reason::new(Code::RepositoryUnreachable, "No route to host."),
        delay_ms: 600_000,
    };
    run.end(&later).await;
    let page = client.get(&format!("/deployments/{}", ids[0])).await;
    page.shows("it will be tried again.");
    page.shows("The next attempt is due <time");
    page.shows(">in ");
    page.shows("No route to host.");
}

#[tokio::test]
async fn a_failed_deployment_says_why_what_to_do_and_can_be_retried() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let run = Run::begin(&app, id).await;
    run.end(&failed()).await;
    let client = app.admin().await;
    let (path, retry) = (
        format!("/deployments/{id}"),
        format!("/deployments/{id}/retry"),
    );
    let page = client.get(&path).await;
    page.shows("The step install failed with exit code 1.");
    page.shows("Mend the cause and retry.");
    page.shows("It wrote nothing.");
    page.hides("/cancel\"");
    client
        .submit(&path, &retry, &[])
        .await
        .leads_to("/deployments/2");
    client
        .submit(&path, &retry, &[])
        .await
        .leads_to("/deployments/2");
    client
        .get("/deployments/2")
        .await
        .shows(&format!("Retry of <a href=\"{path}\">#{id}</a>"));
}

#[tokio::test]
async fn cancelling_stops_what_waits_and_asks_what_runs() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let (first, second) = (
        app.deployment("web", None).await,
        app.deployment("web", None).await,
    );
    let _run = Run::begin(&app, first).await;
    let client = app.admin().await;
    let (path, cancel) = (
        format!("/deployments/{second}"),
        format!("/deployments/{second}/cancel"),
    );
    client.submit(&path, &cancel, &[]).await.leads_to(&path);
    let page = client.get(&path).await;
    page.shows("<span class=\"badge is-cancelled\">Cancelled</span>");
    page.shows("data-open=\"false\"");

    let (path, cancel) = (
        format!("/deployments/{first}"),
        format!("/deployments/{first}/cancel"),
    );
    client.submit(&path, &cancel, &[]).await.leads_to(&path);
    let page = client.get(&path).await;
    page.shows("It ends once its processes have ended.");
    page.hides(&cancel);
}

#[tokio::test]
async fn a_button_that_comes_too_late_is_explained_on_the_page() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let client = app.admin().await;
    let path = format!("/deployments/{id}");
    let refused = client.submit(&path, &format!("{path}/retry"), &[]).await;
    assert_eq!(refused.status, 409);
    refused.shows("only one that ended badly is retried");
    Run::begin(&app, id).await.end(&Transition::Succeed).await;
    let refused = client.submit(&path, &format!("{path}/cancel"), &[]).await;
    assert_eq!(refused.status, 409);
    refused.shows("Not possible right now");
    refused.shows("<span class=\"badge is-succeeded\">");
    refused.hides("/retry\"");
}

#[tokio::test]
async fn who_may_only_look_has_no_buttons_and_no_effect() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let viewer = app.client_as(SystemRole::Viewer).await;
    let path = format!("/deployments/{id}");
    for page in [path.clone(), format!("{path}/fragment")] {
        let page = viewer.get(&page).await;
        assert_eq!(page.status, 200);
        page.hides("/cancel\"");
    }
    let outsider = app.client_as(SystemRole::Developer).await;
    assert_eq!(outsider.get(&path).await.status, 404);
    for action in ["cancel", "retry"] {
        let refused = viewer.submit("/", &format!("{path}/{action}"), &[]).await;
        assert_eq!(refused.status, 403, "{action}");
        let refused = outsider.submit("/", &format!("{path}/{action}"), &[]).await;
        assert_eq!(refused.status, 404, "{action}");
    }
    viewer.get(&path).await.shows("Queued");
}

#[tokio::test]
async fn each_attempt_has_its_steps_the_newest_first() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let run = Run::begin(&app, id).await;
    let steps = run.plan(&[(Phase::Build, "install")]).await;
    run.step(&steps[0]).await;
    run.end(&Transition::Interrupt).await;
    let run = Run::begin(&app, id).await;
    let steps = run.plan(&[(Phase::Build, "install")]).await;
    run.step(&steps[0]).await;
    run.step_ended(&steps[0], 3).await;
    run.end(&failed()).await;
    let page = app.admin().await.get(&format!("/deployments/{id}")).await;
    let newest = page.body.find("Attempt 1<").unwrap();
    let oldest = page.body.find("Attempt 1, interrupted<").unwrap();
    assert!(newest < oldest);
    page.shows("exit 3");
    page.shows("1, 1 interrupted");
    page.shows("<span class=\"badge is-lost\">Lost</span>");
}

#[tokio::test]
async fn a_live_stream_begins_where_the_page_ends() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let mut run = Run::begin(&app, id).await;
    run.write(None, &["one", "two", "three"]).await;
    run.end(&Transition::Succeed).await;
    let client = app.admin().await;
    let events = format!("/api/v1/deployments/{id}/events");
    let numbers = |body: &str| {
        let ids = body.lines().filter_map(|line| line.strip_prefix("id:"));
        ids.map(|id| id.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&client.get(&events).await.body), ["1", "2", "3"]);
    assert_eq!(
        numbers(&client.get(&format!("{events}?after=1")).await.body),
        ["2", "3"]
    );
    let again = client.request(reqwest::Method::GET, &format!("{events}?after=1"));
    let again = crate::app::answer(again.header("Last-Event-ID", "2")).await;
    assert_eq!(numbers(&again.body), ["3"]);
    for wrong in ["-1", "x"] {
        assert_eq!(
            client.get(&format!("{events}?after={wrong}")).await.status,
            422,
            "{wrong}"
        );
    }
}
