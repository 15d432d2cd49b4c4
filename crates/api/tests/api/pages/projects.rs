//! The projects, and deploying from one.

use slipway_core::{
    access::{ProjectRole, SystemRole},
    db,
    deployment::{status::Transition, store},
    project::{self, policy::QueuePolicy, service::ProjectChange},
};

use crate::{
    app::{Client, TestApp},
    scene::Run,
};

const DEPLOY: &str = "action=\"/projects/web/deploy\"";

async fn deploy(client: &Client, ref_name: &str, note: &str) -> crate::app::Answer {
    let fields = [("target", "production"), ("ref", ref_name), ("note", note)];
    client
        .submit("/projects/web", "/projects/web/deploy", &fields)
        .await
}

#[tokio::test]
async fn an_empty_installation_says_what_to_do_next() {
    let app = TestApp::spawn().await;
    let page = app.admin().await.get("/").await;
    page.shows("No projects yet");
    page.shows(&format!("curl -X POST {}/api/v1/projects", app.origin));
    let viewer = app.client_as(SystemRole::Viewer).await.get("/").await;
    viewer.shows("Ask an Owner");
    viewer.hides("curl");
}

#[tokio::test]
async fn projects_are_shown_with_their_last_deployment_to_those_who_may_see_them() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    app.bare_project("api", "Back end <b>").await;
    let first = app.deployment("web", None).await;
    let run = Run::begin(&app, first).await;
    run.end(&Transition::Succeed).await;
    let page = app.admin().await.get("/").await;
    page.shows("<span class=\"badge is-succeeded\">Succeeded</span>");
    page.shows("Never deployed");
    page.shows("Back end &#60;b&#62;");
    app.deployment("web", None).await;
    app.admin()
        .await
        .get("/")
        .await
        .shows("<span class=\"badge is-queued\">Queued</span>");

    let outsider = app.client_as(SystemRole::Developer).await;
    outsider.get("/").await.hides("/projects/web");
    assert_eq!(outsider.get("/projects/web").await.status, 404);
    app.member("web", outsider.actor(), ProjectRole::Member)
        .await;
    let page = outsider.get("/").await;
    page.shows("/projects/web");
    page.hides("/projects/api");
}

#[tokio::test]
async fn the_list_of_projects_has_pages() {
    let app = TestApp::spawn().await;
    for number in 0..51 {
        app.bare_project(&format!("p{number}"), "P").await;
    }
    let client = app.admin().await;
    let page = client.get("/").await;
    assert_eq!(page.body.matches("class=\"card project\"").count(), 50);
    let next = page.attribute("href=\"/?cursor=");
    let page = client.get(&format!("/?cursor={next}")).await;
    assert_eq!(page.body.matches("class=\"card project\"").count(), 1);
    page.shows("/projects/p50");
    page.hides("More projects");
}

#[tokio::test]
async fn a_project_shows_targets_pipeline_and_the_live_release() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", Some("for Ann")).await;
    let run = Run::begin(&app, id).await;
    let (target, commit) = (
        run.row.target_id,
        "0123456789abcdef0123456789abcdef01234567",
    );
    let conn = app.ctx.db.writer();
    let holder = store::release::Holder {
        target,
        deployment: id,
        fence: run.row.fence,
    };
    let noted = store::release::set_live(conn, holder, Some(commit), db::now()).await;
    assert!(noted.unwrap());
    run.end(&Transition::Succeed).await;
    let page = app.admin().await.get("/projects/web").await;
    page.shows("<code>/srv/web/production</code>");
    page.shows(&format!("<a href=\"/deployments/{id}\">#{id}</a> <code class=\"commit\" title=\"{commit}\">0123456789</code>"));
    page.shows("run: ./bin/migrate");
    page.shows("for Ann");
    page.shows("value=\"main\"");
    page.shows(DEPLOY);
}

#[tokio::test]
async fn a_project_without_targets_or_pipeline_says_how_to_get_them() {
    let app = TestApp::spawn().await;
    app.bare_project("web", "Web").await;
    let page = app.admin().await.get("/projects/web").await;
    page.shows("/api/v1/projects/web/targets");
    page.shows("/api/v1/projects/web/pipeline");
    app.target("web", "production").await;
    let page = app.admin().await.get("/projects/web").await;
    page.shows("/srv/web/production");
    page.hides(DEPLOY);
    app.client_as(SystemRole::Viewer)
        .await
        .get("/projects/web")
        .await
        .hides("curl");
}

#[tokio::test]
async fn pressing_deploy_leads_to_the_deployment() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let member = app.client_as(SystemRole::Developer).await;
    app.member("web", member.actor(), ProjectRole::Member).await;
    deploy(&member, " release/2 ", "hot <fix>")
        .await
        .leads_to("/deployments/1");
    let page = member.get("/deployments/1").await;
    page.shows("<span class=\"ref\">release/2</span>");
    page.shows("hot &#60;fix&#62;");
}

#[tokio::test]
async fn one_form_makes_one_deployment_however_often_it_is_sent() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let client = app.admin().await;
    let page = client.get("/projects/web").await;
    let (token, key) = (page.token(), page.attribute("name=\"key\" value=\""));
    let fields = [
        ("token", token.as_str()),
        ("key", &key),
        ("target", "production"),
    ];
    client
        .post("/projects/web/deploy", &fields)
        .await
        .leads_to("/deployments/1");
    client
        .post("/projects/web/deploy", &fields)
        .await
        .leads_to("/deployments/1");
    let page = client.get("/projects/web").await;
    let key = page.attribute("name=\"key\" value=\"");
    let fields = [
        ("token", token.as_str()),
        ("key", &key),
        ("target", "production"),
    ];
    client
        .post("/projects/web/deploy", &fields)
        .await
        .leads_to("/deployments/2");
}

#[tokio::test]
async fn who_may_not_deploy_has_no_button_and_no_effect() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let viewer = app.client_as(SystemRole::Viewer).await;
    app.member("web", viewer.actor(), ProjectRole::Owner).await;
    let page = viewer.get("/projects/web").await;
    assert_eq!(page.status, 200);
    page.hides(DEPLOY);
    let refused = deploy(&viewer, "-bad ref-", "").await;
    assert_eq!(refused.status, 403);
    refused.shows("<h1>Not allowed</h1>");

    let outsider = app.client_as(SystemRole::Developer).await;
    let fields = [("target", "production")];
    let refused = outsider.submit("/", "/projects/web/deploy", &fields).await;
    assert_eq!(refused.status, 404);
    viewer
        .get("/deployments")
        .await
        .shows("No deployments here");
}

#[tokio::test]
async fn a_wrong_form_comes_back_with_what_was_typed() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    app.target("web", "staging").await;
    let client = app.admin().await;
    let refused = deploy(&client, "--upload-pack=x", "a note").await;
    assert_eq!(refused.status, 422);
    refused.shows("ref: must not start with -");
    refused.shows("value=\"--upload-pack=x\"");
    refused.shows("value=\"a note\"");
    assert_eq!(
        refused.body.matches("value=\"main\"").count(),
        1,
        "the other target's form"
    );
    let fields = [("target", "nowhere")];
    let refused = client
        .submit("/projects/web", "/projects/web/deploy", &fields)
        .await;
    assert_eq!(refused.status, 422);
    refused.shows("no target `nowhere`");
}

#[tokio::test]
async fn a_full_queue_is_said_in_words_and_keeps_its_status() {
    let app = TestApp::spawn_with(|settings| settings.queue.backlog_limit = 1).await;
    app.project("web").await;
    let client = app.admin().await;
    deploy(&client, "main", "").await.leads_to("/deployments/1");
    let refused = deploy(&client, "main", "").await;
    assert_eq!(refused.status, 429);
    assert!(!refused.header("Retry-After").is_empty());
    refused.shows("Too much is waiting");
    refused.shows("as many deployments wait as may: 1 of 1");
    refused.shows(DEPLOY);
}

#[tokio::test]
async fn a_broken_queue_is_said_in_words_and_pages_stay_up() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let client = app.admin().await;
    app.ctx.health.note_failure();
    let refused = deploy(&client, "main", "").await;
    assert_eq!(refused.status, 503);
    assert!(!refused.header("Retry-After").is_empty());
    refused.shows("Deployments are paused");
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_project_that_takes_one_at_a_time_says_so() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let change = ProjectChange {
        queue_policy: Some(QueuePolicy::Reject),
        ..ProjectChange::default()
    };
    project::service::update(&app.ctx, &app.admin, "web", change, db::now())
        .await
        .unwrap();
    let client = app.admin().await;
    deploy(&client, "main", "").await.leads_to("/deployments/1");
    let refused = deploy(&client, "main", "").await;
    assert_eq!(refused.status, 409);
    refused.shows("Not possible right now");
}
