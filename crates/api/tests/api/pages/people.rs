//! The pages of accounts: one's own, everybody's, and new passwords.

use slipway_core::access::SystemRole;

use crate::app::{PASSWORD, TestApp};

const NEW: &str = "another battery staple";

/// What the page shows once, in the element with this id.
fn shown(page: &crate::app::Answer, id: &str) -> String {
    let (_, rest) = page
        .body
        .split_once(&format!("<code id=\"{id}\">"))
        .unwrap();
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_admin_invites_somebody_who_sets_a_password() {
    let app = TestApp::spawn().await;
    let admin = app.admin().await;
    let fields = [
        ("email", "ann@example.com"),
        ("name", "<b>Ann</b>"),
        ("role", "developer"),
        ("kind", "person"),
    ];
    let page = admin.submit("/users", "/users", &fields).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let link = shown(&page, "link").replace("&#35;", "#");
    let (place, code) = link.split_once('#').unwrap();
    assert_eq!(place, "/password");
    let listed = admin.get("/users").await;
    listed.shows("&#60;b&#62;Ann&#60;/b&#62;");
    listed.shows("<td>No password</td>");
    listed.hides(code);
    let again = admin.submit("/users", "/users", &fields).await;
    assert_eq!(again.status, 409);
    again.shows("there is an account ann@example.com already");
    let stranger = app.anonymous();
    let short = stranger
        .post("/password", &[("code", code), ("password", "short")])
        .await;
    assert_eq!(short.status, 422);
    short.shows("a password has between 12 and 1024 characters");
    let set = stranger
        .post("/password", &[("code", code), ("password", NEW)])
        .await;
    set.leads_to("/login");
    let again = stranger
        .post("/password", &[("code", code), ("password", NEW)])
        .await;
    again.shows("is not valid any more");
    let login = [("email", "ann@example.com"), ("password", NEW)];
    stranger.post("/login", &login).await.leads_to("/");
}

#[tokio::test]
async fn an_admin_changes_roles_and_disables_but_not_the_last_admin() {
    let app = TestApp::spawn().await;
    let admin = app.admin().await;
    let ann = app.client_as(SystemRole::Developer).await;
    let path = format!("/users/{}", ann.actor().user);
    admin
        .submit("/users", &path, &[("to", "viewer")])
        .await
        .leads_to("/users");
    assert_eq!(ann.get("/account").await.status, 303);
    admin
        .submit("/users", &path, &[("to", "disable")])
        .await
        .leads_to("/users");
    admin.get("/users").await.shows("<td>Disabled</td>");
    let own = format!("/users/{}", app.admin.user);
    let refused = admin.submit("/users", &own, &[("to", "disable")]).await;
    assert_eq!(refused.status, 409);
    refused.shows("Slipway keeps at least one Admin");
}

#[tokio::test]
async fn only_admins_see_the_accounts() {
    let app = TestApp::spawn().await;
    for role in [
        SystemRole::Manager,
        SystemRole::Developer,
        SystemRole::Viewer,
    ] {
        let client = app.client_as(role).await;
        client.get("/").await.hides("href=\"/users\"");
        assert_eq!(client.get("/users").await.status, 403);
    }
    app.admin().await.get("/").await.shows("href=\"/users\"");
}

#[tokio::test]
async fn people_look_after_their_own_account() {
    let app = TestApp::spawn().await;
    let ann = app.client_as(SystemRole::Developer).await;
    let named = ann
        .submit("/account", "/account/name", &[("name", "Ann B.")])
        .await;
    named.leads_to("/account");
    let fields = [("name", "laptop"), ("scope", "deploy"), ("days", "30")];
    let page = ann.submit("/account", "/account/tokens", &fields).await;
    let token = shown(&page, "made");
    assert!(token.starts_with("slw_"), "{token}");
    let page = ann.get("/account").await;
    page.shows("value=\"Ann B.\"");
    page.shows("<td>deploy</td>");
    page.hides(&token);
    let id = page.attribute("/account/tokens/");
    let me = app.anonymous().bare(&reqwest::Method::GET, "/api/v1/me");
    assert_eq!(crate::app::answer(me.bearer_auth(&token)).await.status, 200);
    let revoke = format!("/account/tokens/{id}");
    ann.submit("/account", &revoke, &[])
        .await
        .leads_to("/account");
    let me = app.anonymous().bare(&reqwest::Method::GET, "/api/v1/me");
    assert_eq!(crate::app::answer(me.bearer_auth(&token)).await.status, 401);

    let other = app.client_of(&ann.actor().email).await;
    let page = ann.get("/account").await;
    page.shows("this one");
    let end = format!("/account/sessions/{}", page.attribute("/account/sessions/"));
    ann.submit("/account", &end, &[]).await.leads_to("/account");
    assert_eq!(other.get("/account").await.status, 303);

    let wrong = [("current", "wrong"), ("password", NEW)];
    let refused = ann.submit("/account", "/account/password", &wrong).await;
    assert_eq!(refused.status, 422);
    refused.shows("is not your password");
    let change = [("current", PASSWORD), ("password", NEW)];
    let changed = ann.submit("/account", "/account/password", &change).await;
    changed.leads_to("/account");
    assert_eq!(ann.get("/account").await.status, 303);
    let cookie = changed
        .header("set-cookie")
        .split(['=', ';'])
        .nth(1)
        .unwrap();
    let renewed = ann.with_cookie(cookie);
    assert_eq!(renewed.get("/account").await.status, 200);
}

#[tokio::test]
async fn without_mail_an_admin_is_the_way_to_a_new_password() {
    let app = TestApp::spawn().await;
    let stranger = app.anonymous();
    stranger.get("/login").await.shows("href=\"/forgot\"");
    stranger
        .get("/forgot")
        .await
        .shows("Ask an Admin for a link");
}
