//! The page of the queue, and locking from the pages.

use slipway_core::{
    access::{ProjectRole, SystemRole},
    deployment::status::Transition,
    process::{duty, entity::ProcessKind},
};

use crate::{app::TestApp, scene::Run};

const LOCK: [(&str, &str); 2] = [("reason", "stock <taking>"), ("hours", "4")];

#[tokio::test]
async fn only_those_who_operate_slipway_see_the_queue() {
    let app = TestApp::spawn().await;
    for (role, may) in [
        (SystemRole::Manager, true),
        (SystemRole::Developer, false),
        (SystemRole::Viewer, false),
    ] {
        let client = app.client_as(role).await;
        let home = client.get("/").await;
        assert_eq!(home.body.contains("href=\"/queue\""), may, "{role:?}");
        for path in ["/queue", "/queue/fragment"] {
            let page = client.get(path).await;
            assert_eq!(page.status, if may { 200 } else { 403 }, "{path} {role:?}");
        }
    }
    let home = app.admin().await.get("/").await;
    home.shows("href=\"/queue\"");
}

#[tokio::test]
async fn the_queue_shows_what_waits_what_runs_and_who_works() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    let page = admin.get("/queue").await;
    page.shows("Nothing waits and nothing runs.");
    page.shows("No worker is running, so nothing starts.");

    let (first, second) = (
        app.deployment("web", None).await,
        app.deployment("web", None).await,
    );
    duty::announce(&app.ctx, ProcessKind::Worker).await;
    let run = Run::begin_as(&app, first, &app.ctx.process.name).await;
    for path in ["/queue", "/queue/fragment"] {
        let page = admin.get(path).await;
        page.shows(&format!("On {}, heard of", app.ctx.process.name));
        page.shows(&format!("Deployment {first} of the same target is running"));
        page.shows("1 of 5");
        page.shows("<span class=\"badge is-succeeded\">Live</span>");
    }
    run.end(&Transition::Succeed).await;
    let page = admin.get("/queue").await;
    page.hides(&format!("href=\"/deployments/{first}\""));
    page.shows(&format!("href=\"/deployments/{second}\""));
    page.shows("A worker takes it next");
}

#[tokio::test]
async fn a_project_and_its_targets_are_locked_and_unlocked_from_its_page() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let owner = app.client_as(SystemRole::Developer).await;
    app.member("web", owner.actor(), ProjectRole::Owner).await;
    for (base, title) in [
        ("/projects/web", "This project is locked"),
        ("/projects/web/targets/production", "This target is locked"),
    ] {
        let (lock, unlock) = (format!("{base}/lock"), format!("{base}/unlock"));
        owner.get("/projects/web").await.hides(title);
        let sent = owner.submit("/projects/web", &lock, &LOCK).await;
        assert_eq!(sent.status, 303, "{}", sent.body);
        let page = owner.get("/projects/web").await;
        page.shows(title);
        page.shows("stock &#60;taking&#62;");
        page.shows("it ends");
        let id = app.deployment("web", None).await;
        owner
            .get(&format!("/deployments/{id}"))
            .await
            .shows("stock &#60;taking&#62;");
        app.admin().await.get("/queue").await.shows("Locked: ");

        let sent = owner.submit("/projects/web", &unlock, &[]).await;
        assert_eq!(sent.status, 303, "{}", sent.body);
        owner.get("/projects/web").await.hides(title);
    }
}

#[tokio::test]
async fn everything_is_locked_from_the_page_of_the_queue_by_an_admin() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    let manager = app.client_as(SystemRole::Manager).await;
    manager.get("/queue").await.hides("action=\"/queue/lock\"");
    let token = manager.get("/").await.token();
    let refused = manager
        .post("/queue/lock", &[LOCK[0], ("token", &token)])
        .await;
    assert_eq!(refused.status, 403);

    let sent = admin.submit("/queue", "/queue/lock", &[LOCK[0]]).await;
    sent.leads_to("/queue");
    for client in [&admin, &manager] {
        client.get("/queue").await.shows("Everything is locked");
        client
            .get("/projects/web")
            .await
            .shows("Everything is locked");
    }
    manager.get("/queue").await.hides("/queue/unlock");
    admin
        .submit("/queue", "/queue/unlock", &[])
        .await
        .leads_to("/queue");
    admin.get("/queue").await.hides("Everything is locked");
}

#[tokio::test]
async fn a_member_sees_a_lock_and_no_form() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    admin
        .submit("/projects/web", "/projects/web/lock", &LOCK)
        .await
        .leads_to("/projects/web");
    let member = app.client_as(SystemRole::Developer).await;
    app.member("web", member.actor(), ProjectRole::Member).await;
    let page = member.get("/projects/web").await;
    page.shows("This project is locked");
    page.hides("/unlock\"");
    page.hides("/lock\"");
    let token = page.token();
    let refused = member
        .post("/projects/web/unlock", &[("token", &token)])
        .await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_lock_without_a_reason_or_with_a_strange_end_is_refused() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let admin = app.admin().await;
    for fields in [
        [("reason", " "), ("hours", "")],
        [("reason", "x"), ("hours", "soon")],
        [("reason", "x"), ("hours", "0")],
        [("reason", "x"), ("hours", "4294967295")],
    ] {
        let sent = admin
            .submit("/projects/web", "/projects/web/lock", &fields)
            .await;
        assert_eq!(sent.status, 422, "{fields:?}: {}", sent.body);
    }
}
