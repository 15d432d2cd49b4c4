//! The pages in a real browser: what a person sees happen, with JavaScript and without.

mod chromium;
mod sign_in;

use std::time::Duration;

use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use slipway_core::{
    deployment::{
        reason::{Code, Reason},
        status::Transition,
        step::Phase,
    },
    id::DeploymentId,
};
use slipway_testkit::eventually;

use self::chromium::{Look, with_chromium};
use crate::{
    app::{PASSWORD, TestApp},
    scene::Run,
};

/// Longest wait for something that should be there at once.
const SOON: Duration = Duration::from_secs(20);
/// The numbers and texts of the lines on the page, in the page's order.
const LINES: &str = "return [...document.querySelectorAll('#log .line')].map((line) => \
                     line.id + ' ' + line.querySelector('.text').textContent)";

async fn text(page: &Client, selector: &str) -> String {
    let found = page.find(Locator::Css(selector)).await.unwrap();
    found.text().await.unwrap()
}

/// Waits until an element reads so. Parts of a live page are replaced at any time, so an element
/// that is gone when it is asked is looked for again.
async fn reads(page: &Client, selector: &str, wanted: &str) {
    eventually(SOON, async || {
        let found = page
            .find(Locator::Css(selector))
            .await
            .map_err(|it| it.to_string())?;
        let text = found.text().await.map_err(|it| it.to_string())?;
        if text == wanted { Ok(()) } else { Err(text) }
    })
    .await;
}

/// Waits until a script answers so.
async fn answers(page: &Client, script: &str, wanted: &Value) {
    eventually(SOON, async || {
        let answer = page
            .execute(script, vec![])
            .await
            .map_err(|it| it.to_string())?;
        if answer == *wanted {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
}

async fn press(page: &Client, selector: &str) {
    page.find(Locator::Css(selector))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
}

async fn fill(page: &Client, selector: &str, text: &str) {
    page.find(Locator::Css(selector))
        .await
        .unwrap()
        .send_keys(text)
        .await
        .unwrap();
}

/// Opens an address as somebody who has to sign in first.
async fn open(page: &Client, app: &TestApp, path: &str) {
    page.goto(&format!("{}{path}", app.origin)).await.unwrap();
    reads(page, "h1", "Sign in").await;
    fill(page, "#email", &app.admin.email).await;
    fill(page, "#password", PASSWORD).await;
    press(page, "button.primary").await;
    at(page, path).await;
}

/// Waits until the browser is on this path.
async fn at(page: &Client, path: &str) {
    eventually(SOON, async || {
        let url = page.current_url().await.map_err(|it| it.to_string())?;
        if url.path() == path {
            Ok(())
        } else {
            Err(url.to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn a_deployment_is_followed_live_from_the_button_to_its_end() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    with_chromium(Look::default(), async |page| {
        open(page, &app, "/projects/web").await;
        fill(page, "#note-production", "from the browser").await;
        press(page, "form[action$='/deploy'] button").await;
        at(page, "/deployments/1").await;
        reads(page, "#overview .badge", "Queued").await;
        assert!(
            text(page, "#overview .facts")
                .await
                .contains("from the browser")
        );
        reads(page, "#log-state", "Live").await;
        // Lost on any reload.
        page.execute("window.isSamePage = true", vec![])
            .await
            .unwrap();

        let mut run = Run::begin(&app, DeploymentId(1)).await;
        reads(page, "#overview .badge", "Running").await;
        let steps = run.plan(&[(Phase::Build, "install")]).await;
        run.step(&steps[0]).await;
        run.write(None, &["Checked out main"]).await;
        let mut told = vec![json!("L1 Checked out main")];
        for part in 0..5 {
            let lines: Vec<String> = (0..4).map(|n| format!("{part}.{n} <b>&amp;")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            run.write(Some(&steps[0]), &lines).await;
            told.extend(
                (0..4).map(|n| json!(format!("L{} {part}.{n} <b>&amp;", part * 4 + n + 2))),
            );
            answers(page, LINES, &Value::Array(told.clone())).await;
        }
        reads(page, "#log .log-step", "install").await;
        reads(page, "#steps .badge", "Running").await;
        run.step_ended(&steps[0], 0).await;
        reads(page, "#steps .badge", "Succeeded").await;
        run.end(&Transition::Succeed).await;
        reads(page, "#overview .badge", "Succeeded").await;
        reads(page, "#log-state", "").await;
        reads(page, "#announcer", "Deployment #1: Succeeded").await;
        answers(
            page,
            "return document.title",
            &json!("Succeeded #1 web · Slipway"),
        )
        .await;
        answers(page, LINES, &Value::Array(told)).await;
        answers(page, "return window.isSamePage", &json!(true)).await;

        press(page, ".who button").await;
        at(page, "/login").await;
        page.goto(&format!("{}/deployments/1", app.origin))
            .await
            .unwrap();
        at(page, "/login").await;
    })
    .await;
}

#[tokio::test]
async fn a_queued_deployment_sees_the_queue_move() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let first = app.deployment("web", None).await;
    let second = app.deployment("web", None).await;
    let third = app.deployment("web", None).await;
    let notice = "#overview .notice p";
    with_chromium(Look::default(), async |page| {
        open(page, &app, &format!("/deployments/{third}")).await;
        reads(
            page,
            notice,
            "Waits for 2 older deployments of this target.",
        )
        .await;
        Run::begin(&app, first)
            .await
            .end(&Transition::Succeed)
            .await;
        reads(page, notice, "Waits for 1 older deployment of this target.").await;
        Run::begin(&app, second)
            .await
            .end(&Transition::Succeed)
            .await;
        reads(page, notice, "No worker is running.").await;
    })
    .await;
}

#[tokio::test]
async fn lines_look_the_same_whether_they_came_live_or_with_the_page() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let mut run = Run::begin(&app, id).await;
    let steps = run
        .plan(&[(Phase::Build, "one"), (Phase::Build, "two")])
        .await;
    let odd = [
        "plain",
        "\u{1b}[31mred\u{1b}[0m not",
        "\u{1b}[1;4;92mgo\u{1b}[22mx\u{1b}[mz",
        "\u{1b}[38;5;9;48;5;200ma\u{1b}[38;2;1;2;3;3mb\u{1b}[4:3;32mc",
        "\u{1b}[44;107ma\u{1b}[49mb\u{1b}[39;7mc",
        "a\u{1b}[2Kb\u{1b}[?25lc\u{1b}[10;5Hd\u{1b}[1 qe",
        "\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\.\u{1b}]0;title",
        "a\u{8}\u{7}b\u{9b}31mc\u{1b}cd\u{1b}(B",
        "tab\tkept, 日本語 and \u{1f680}\u{1b}\u{1f680}",
        "cut \u{1b}[3",
        "cut \u{1b}",
        "  spaces  stay  ",
        "<img src=x onerror=\"document.title='sprung'\">",
        "",
    ];
    with_chromium(Look::default(), async |page| {
        open(page, &app, &format!("/deployments/{id}")).await;
        reads(page, "#log-state", "Live").await;
        run.write(None, &["hello"]).await;
        run.write(Some(&steps[0]), &odd).await;
        run.write(Some(&steps[1]), &odd).await;
        run.write(None, &["bye"]).await;
        let count = "return document.querySelectorAll('#log .line').length";
        answers(page, count, &json!(odd.len() * 2 + 2)).await;
        // Without the space between elements, which only the template has.
        let look = "return [...document.querySelectorAll('#log > div')].map((it) => it.outerHTML)";
        let live = page.execute(look, vec![]).await.unwrap();
        page.refresh().await.unwrap();
        reads(page, "#log-state", "Live").await;
        let with_page = page.execute(look, vec![]).await.unwrap();
        let (live, with_page) = (live.as_array().unwrap(), with_page.as_array().unwrap());
        assert_eq!(live.len(), odd.len() * 2 + 4);
        for (live, with_page) in live.iter().zip(with_page) {
            assert_eq!(live, with_page);
        }
        assert_eq!(live.len(), with_page.len());
        assert_ne!(page.title().await.unwrap(), "sprung");
    })
    .await;
}

#[tokio::test]
async fn the_log_follows_its_end_until_somebody_scrolls_up() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let mut run = Run::begin(&app, id).await;
    let many = ["a line"; 200];
    with_chromium(Look::default(), async |page| {
        open(page, &app, &format!("/deployments/{id}")).await;
        reads(page, "#log-state", "Live").await;
        let count = "return document.querySelectorAll('#log .line').length";
        let is_at_end = "const log = document.querySelector('#log'); \
                         return log.scrollHeight - log.scrollTop - log.clientHeight < 2";
        run.write(None, &many).await;
        answers(page, count, &json!(200)).await;
        answers(page, is_at_end, &json!(true)).await;
        let up = "document.querySelector('#log').scrollTop = 100";
        page.execute(up, vec![]).await.unwrap();
        answers(
            page,
            "return document.querySelector('#log-end').hidden",
            &json!(false),
        )
        .await;
        run.write(None, &many).await;
        answers(page, count, &json!(400)).await;
        answers(
            page,
            "return document.querySelector('#log').scrollTop",
            &json!(100),
        )
        .await;
        press(page, "#log-end").await;
        answers(page, is_at_end, &json!(true)).await;
        run.write(None, &many).await;
        answers(page, count, &json!(600)).await;
        answers(page, is_at_end, &json!(true)).await;
    })
    .await;
}

#[tokio::test]
async fn everything_but_live_tailing_works_without_javascript() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let look = Look {
        scripts: false,
        ..Look::default()
    };
    with_chromium(look, async |page| {
        let probe = "data:text/html,<p>off</p><script>document.body.innerText = 'on'</script>";
        page.goto(probe).await.unwrap();
        assert_eq!(text(page, "body").await, "off", "the browser runs scripts");
        open(page, &app, "/projects/web").await;
        press(page, "form[action$='/deploy'] button").await;
        at(page, "/deployments/1").await;
        reads(page, "#overview .badge", "Queued").await;
        reads(page, "#log-empty", "No output yet.").await;
        let mut run = Run::begin(&app, DeploymentId(1)).await;
        run.write(None, &["\u{1b}[32mhello\u{1b}[0m without scripts"])
            .await;
        page.refresh().await.unwrap();
        reads(page, "#overview .badge", "Running").await;
        reads(page, "#L1 .text", "hello without scripts").await;
        reads(page, "#log-state", "").await;
        press(page, "button.danger").await;
        reads(page, "#overview .notice strong", "Cancelling").await;
        press(page, ".who button").await;
        at(page, "/login").await;
    })
    .await;
}

#[tokio::test]
async fn no_page_is_wider_than_a_small_phone() {
    let app = TestApp::spawn().await;
    app.project("a-project-with-a-rather-long-name-that-does-not-fit")
        .await;
    let project = "a-project-with-a-rather-long-name-that-does-not-fit";
    let id = app
        .deployment(project, Some(&"unbreakable".repeat(20)))
        .await;
    let mut run = Run::begin(&app, id).await;
    run.found(&"subject".repeat(30), "Somebody With A Long Name")
        .await;
    let steps = run
        .plan(&[
            (Phase::Build, &"step".repeat(20)),
            (Phase::Health, "health"),
        ])
        .await;
    run.step(&steps[0]).await;
    run.write(Some(&steps[0]), &[&"x".repeat(500)]).await;
    let text = "word".repeat(60);
    run.end(&Transition::Fail(Reason::new(Code::StepFailed, text)))
        .await;
    let look = Look {
        width: 360,
        ..Look::default()
    };
    with_chromium(look, async |page| {
        open(page, &app, "/").await;
        let shown = format!("/deployments/{id}");
        let project = format!("/projects/{project}");
        for path in [
            "/",
            &project,
            "/deployments",
            &shown,
            "/api/docs",
            "/nowhere",
        ] {
            page.goto(&format!("{}{path}", app.origin)).await.unwrap();
            let sizes = "return [innerWidth, document.documentElement.scrollWidth]";
            assert_eq!(
                page.execute(sizes, vec![]).await.unwrap(),
                json!([360, 360]),
                "{path}"
            );
        }
    })
    .await;
}
