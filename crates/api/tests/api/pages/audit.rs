//! The page of the audit trail.

use slipway_core::access::SystemRole;

use crate::app::TestApp;

#[tokio::test]
async fn only_those_who_operate_slipway_see_the_trail() {
    let app = TestApp::spawn().await;
    for (role, may) in [
        (SystemRole::Manager, true),
        (SystemRole::Developer, false),
        (SystemRole::Viewer, false),
    ] {
        let client = app.client_as(role).await;
        let home = client.get("/").await;
        assert_eq!(home.body.contains("href=\"/audit\""), may, "{role:?}");
        let page = client.get("/audit").await;
        assert_eq!(page.status, if may { 200 } else { 403 }, "{role:?}");
    }
}

#[tokio::test]
async fn the_trail_shows_and_finds_changes() {
    let app = TestApp::spawn().await;
    app.bare_project("web", "<b>Web</b>").await;
    app.target("web", "production").await;
    let admin = app.admin().await;
    let page = admin.get("/audit").await;
    page.shows("<code>project.create</code>");
    page.shows("target production");
    page.shows("&#60;b&#62;Web&#60;/b&#62;");
    let found = admin.get("/audit?action=target&text=prod").await;
    found.shows("<code>target.create</code>");
    found.hides("<code>project.create</code>");
    let nothing = admin.get("/audit?text=nowhere").await;
    nothing.shows("Nothing was changed that fits.");
    for number in 0..51 {
        app.target("web", &format!("t{number}")).await;
    }
    let page = admin.get("/audit?action=target").await;
    let next = page.attribute("<a href=\"/audit?action=target&#38;");
    let older = admin.get(&format!("/audit?action=target&{next}")).await;
    older.shows("target production");
    older.shows(">Newest</a>");
}
