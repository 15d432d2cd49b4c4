//! The pages, without a browser: what they say, to whom, and what their forms refuse.

mod assets;
mod audit;
mod deployments;
mod factor;
mod notify;
mod people;
mod projects;
mod queue;
mod reference;
mod sign_in;
mod ssh;

use reqwest::Method;
use slipway_core::access::SystemRole;

use crate::app::{TestApp, answer};

#[tokio::test]
async fn every_page_sends_a_signed_out_visitor_to_the_sign_in_form_and_back() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let visitor = app.anonymous();
    visitor.get("/").await.leads_to("/login");
    for (path, next) in [
        ("/projects/web".to_owned(), "/projects/web".to_owned()),
        (
            "/deployments?status=failed".to_owned(),
            "/deployments%3Fstatus%3Dfailed".to_owned(),
        ),
        (format!("/deployments/{id}"), format!("/deployments/{id}")),
        (
            format!("/deployments/{id}/fragment"),
            format!("/deployments/{id}/fragment"),
        ),
        ("/queue".to_owned(), "/queue".to_owned()),
    ] {
        visitor
            .get(&path)
            .await
            .leads_to(&format!("/login?next={next}"));
    }
    for path in [
        "/logout",
        "/projects/web/deploy",
        "/deployments/1/cancel",
        "/deployments/1/retry",
        "/queue/lock",
        "/projects/web/unlock",
        "/projects/web/targets/production/lock",
    ] {
        visitor.post(path, &[]).await.leads_to("/login");
    }
}

#[tokio::test]
async fn no_form_works_without_its_token_or_from_another_site() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let (mine, other) = (app.admin().await, app.admin().await);
    let (token, foreign) = (mine.get("/").await.token(), other.get("/").await.token());
    assert_ne!(token, foreign);
    let target = ("target", "production");
    for path in [
        "/logout".to_owned(),
        "/projects/web/deploy".to_owned(),
        format!("/deployments/{id}/cancel"),
        format!("/deployments/{id}/retry"),
        "/queue/lock".to_owned(),
        "/queue/unlock".to_owned(),
        "/projects/web/lock".to_owned(),
        "/projects/web/unlock".to_owned(),
        "/projects/web/targets/production/lock".to_owned(),
        "/projects/web/targets/production/unlock".to_owned(),
    ] {
        for fields in [
            &[target][..],
            &[target, ("token", "")],
            &[target, ("token", &foreign)],
        ] {
            let refused = mine.post(&path, fields).await;
            assert_eq!(refused.status, 403, "{path} {fields:?}");
            refused.shows("this form is not from your current sign-in");
        }
        let sent = mine.form(&path, &[target, ("token", &token)]);
        let refused = answer(sent.header("Origin", "https://evil.example")).await;
        assert_eq!(refused.status, 403, "{path} from another site");
        let sent = mine.form(&path, &[target, ("token", &token)]);
        let refused = answer(sent.header("Sec-Fetch-Site", "cross-site")).await;
        assert_eq!(refused.status, 403, "{path} from another site");
    }
    mine.get(&format!("/deployments/{id}"))
        .await
        .shows("Queued");
}

#[tokio::test]
async fn missing_things_get_a_page_and_the_api_keeps_its_json() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    for path in [
        "/nowhere",
        "/projects/nothing",
        "/deployments/999",
        "/deployments/x",
        "/static/a/b",
    ] {
        let page = client.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        assert_eq!(
            page.header("Content-Type"),
            "text/html; charset=utf-8",
            "{path}"
        );
        page.shows("<h1>Nothing here</h1>");
        page.shows("Sign out");
    }
    let signed_out = app.anonymous().get("/nowhere").await;
    assert_eq!(signed_out.status, 404);
    signed_out.hides("Sign out");
    let wrong = client.get("/deployments?cursor=forged").await;
    assert_eq!(wrong.status, 422);
    wrong.shows("is not a cursor of this list");
    for path in ["/api/nowhere", "/api/v1/nowhere", "/health/nowhere"] {
        let json = client.get(path).await;
        assert_eq!(json.status, 404, "{path}");
        assert_eq!(
            json.header("Content-Type"),
            "application/problem+json",
            "{path}"
        );
    }
    let json = answer(app.anonymous().request(Method::GET, "/api/v1/me")).await;
    assert_eq!(json.status, 401);
}

#[tokio::test]
async fn pages_allow_no_inline_code_and_no_other_site() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await;
    let client = app.admin().await;
    for path in [
        "/login",
        "/",
        "/projects/web",
        "/deployments",
        "/queue",
        &format!("/deployments/{id}"),
        "/api/docs",
    ] {
        let page = client.get(path).await;
        let policy = page.header("Content-Security-Policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for forbidden in [
            "<style",
            " style=",
            " onclick=",
            "src=\"http",
            "href=\"http",
            "<script>",
        ] {
            page.hides(forbidden);
        }
    }
}
