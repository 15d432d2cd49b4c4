//! Signing in and out, tokens, and where a browser's requests come from.

use serde_json::json;

use super::caller::Caller;
use crate::app::{PASSWORD, TestApp};

async fn sign_in(app: &TestApp) -> (Caller, String) {
    let stranger = Caller::stranger(app);
    let (email, password) = (&app.admin.email, PASSWORD);
    let body = json!({ "email": email, "password": password });
    let answer = stranger.post("/api/v1/auth/login", body).await;
    let cookie = answer.header("set-cookie").to_owned();
    assert_eq!(answer.expect(200)["role"], "admin");
    (stranger, cookie)
}

fn value(cookie: &str) -> &str {
    cookie.split(';').next().unwrap()
}

#[tokio::test]
async fn the_session_cookie_is_out_of_reach_for_scripts_and_other_sites() {
    let app = TestApp::spawn().await;
    let (_, cookie) = sign_in(&app).await;
    assert!(cookie.starts_with("slipway_session="), "{cookie}");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once() {
    let app = TestApp::spawn().await;
    let (client, cookie) = sign_in(&app).await;
    let call = |method: &str, path: &str| {
        client.send(
            client
                .request(method, path)
                .header("Cookie", value(&cookie)),
        )
    };
    assert_eq!(
        call("GET", "/api/v1/me").await.expect(200)["signed_in_by"],
        "session"
    );
    assert_eq!(
        call("GET", "/api/v1/me/sessions").await.expect(200)["items"][0]["is_current"],
        true
    );
    call("POST", "/api/v1/auth/logout").await.expect(204);
    call("GET", "/api/v1/me").await.expect(401);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_told_alike() {
    let app = TestApp::spawn().await;
    let stranger = Caller::stranger(&app);
    let (email, password) = (&app.admin.email, PASSWORD);
    let wrong = [
        json!({ "email": email, "password": "not the password" }),
        json!({ "email": "nobody@example.com", "password": password }),
    ];
    let mut answers = Vec::new();
    for body in wrong {
        let answer = stranger.post("/api/v1/auth/login", body).await;
        assert!(!answer.headers.contains_key("set-cookie"));
        answers.push(answer.expect(401));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let app = TestApp::spawn().await;
    let (client, cookie) = sign_in(&app).await;
    let post = |name: &str, from: &str| {
        let request = client
            .request("POST", "/api/v1/projects")
            .header("Cookie", value(&cookie));
        client.send(request.header(name, from).json(&json!({ "slug": "a" })))
    };
    for (name, from) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let answer = post(name, from).await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "foreign_origin"),
            "{name}: {from}"
        );
    }
    let own = app.origin.clone();
    post("Origin", &own).await.expect(201);
}

#[tokio::test]
async fn a_token_is_shown_once_and_ends_when_it_is_revoked() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let made = admin
        .post("/api/v1/me/tokens", json!({ "name": "laptop" }))
        .await
        .expect(201);
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("slw_"));
    let holder = admin.with_token(token);
    assert_eq!(
        holder.get("/api/v1/me").await.expect(200)["signed_in_by"],
        "token"
    );
    let list = admin.get("/api/v1/me/tokens").await.expect(200);
    assert!(!list.to_string().contains(token));
    admin
        .delete(&format!("/api/v1/me/tokens/{}", made["id"]))
        .await
        .expect(204);
    holder.get("/api/v1/me").await.expect(401);
    admin
        .with_token(&format!("{token}x"))
        .get("/api/v1/me")
        .await
        .expect(401);
    let past = json!({ "name": "a", "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(
        admin.post("/api/v1/me/tokens", past).await.field(),
        "expires_at"
    );
}

#[tokio::test]
async fn a_disabled_account_is_out_on_its_next_request() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let other = Caller::of_role(&app, slipway_core::access::SystemRole::Developer).await;
    let id = other.get("/api/v1/me").await.expect(200)["id"].clone();
    admin
        .patch(&format!("/api/v1/users/{id}"), json!({ "disabled": true }))
        .await
        .expect(200);
    other.get("/api/v1/me").await.expect(401);
    let own = admin.get("/api/v1/me").await.expect(200)["id"].clone();
    let answer = admin
        .patch(&format!("/api/v1/users/{own}"), json!({ "role": "viewer" }))
        .await;
    assert_eq!((answer.status, answer.code()), (409, "last_admin"));
}
