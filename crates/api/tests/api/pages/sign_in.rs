//! Signing in and out.

use slipway_core::access::SystemRole;

use crate::app::{PASSWORD, TestApp, answer};

fn fields<'a>(email: &'a str, password: &'a str, next: &'a str) -> [(&'a str, &'a str); 3] {
    [("email", email), ("password", password), ("next", next)]
}

#[tokio::test]
async fn signing_in_leads_to_where_one_wanted_to_go() {
    let app = TestApp::spawn().await;
    let visitor = app.anonymous();
    let form = visitor
        .get("/login?next=/deployments%3Fstatus%3Dfailed")
        .await;
    let next = form.attribute("name=\"next\" value=\"");
    assert_eq!(next, "/deployments?status=failed");
    let sent = fields("admin@example.com", PASSWORD, &next);
    let signed_in = visitor.post("/login", &sent).await;
    signed_in.leads_to("/deployments?status=failed");
    let cookie = signed_in.header("Set-Cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let (_, value) = cookie.split_once('=').unwrap();
    let mut client = app.anonymous();
    client.cookie = value.split(';').next().map(str::to_owned);
    client
        .get("/")
        .await
        .shows("<span class=\"role\">Admin</span>");
    client
        .get("/login?next=/projects/web")
        .await
        .leads_to("/projects/web");
}

#[tokio::test]
async fn signing_in_never_leads_to_another_site() {
    let app = TestApp::spawn().await;
    for next in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/\n/evil.example",
    ] {
        let sent = fields("admin@example.com", PASSWORD, next);
        app.anonymous().post("/login", &sent).await.leads_to("/");
    }
    app.admin()
        .await
        .get("/login?next=//evil.example")
        .await
        .leads_to("/");
}

#[tokio::test]
async fn wrong_sign_in_keeps_the_address_and_says_one_thing_only() {
    let app = TestApp::spawn().await;
    for email in [
        "admin@example.com",
        "nobody@example.com",
        "\"><img src=x onerror=alert(1)>",
    ] {
        let refused = app
            .anonymous()
            .post("/login", &fields(email, "wrong", "/deployments"))
            .await;
        assert_eq!(refused.status, 401);
        refused.shows("E-mail or password is wrong.");
        refused.shows("value=\"/deployments\"");
        refused.hides("<img src=x");
        refused.hides("wrong\"");
        assert_eq!(refused.header("Set-Cookie"), "");
    }
    let refused = app
        .anonymous()
        .post("/login", &fields("a&b@example.com", "wrong", "/"))
        .await;
    assert!(
        [
            "value=\"a&amp;b@example.com\"",
            "value=\"a&#38;b@example.com\""
        ]
        .iter()
        .any(|kept| refused.body.contains(kept))
    );
}

#[tokio::test]
async fn nobody_is_signed_in_from_another_site() {
    let app = TestApp::spawn().await;
    let sent = app
        .anonymous()
        .form("/login", &fields("admin@example.com", PASSWORD, "/"));
    let refused = answer(sent.header("Origin", "https://evil.example")).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("Set-Cookie"), "");
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Viewer).await;
    let signed_out = client.submit("/", "/logout", &[]).await;
    signed_out.leads_to("/login");
    assert!(signed_out.header("Set-Cookie").contains("Max-Age=0"));
    client.get("/").await.leads_to("/login");
}
