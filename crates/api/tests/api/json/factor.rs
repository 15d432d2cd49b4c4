//! The second factor over HTTP.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use slipway_core::{
    access::SystemRole, account::factor::code_at, settings::RequiredFactor, vault::sealed,
};

use crate::app::{Answer, Client, PASSWORD, TestApp, answer};

/// Sends JSON as a client with a session.
async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    answer(client.request(Method::POST, path).json(body)).await
}

fn read(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

/// The code that an authenticator of the account shows, for a step that was not used: a test cannot
/// wait for the next one, and the one after it is accepted too.
pub(crate) async fn code(app: &TestApp, client: &Client, at: DateTime<Utc>) -> String {
    let rows = sealed::store::of_owner(app.ctx.db.reader(), sealed::FACTOR, client.actor().user.0);
    let row = rows.await.unwrap().remove(0);
    let name = if row.name == "active" {
        "active"
    } else {
        "pending"
    };
    let place = sealed::Place {
        purpose: sealed::FACTOR,
        project: None,
        scope: 0,
        owner: row.owner_id,
        name,
    };
    let seed = sealed::open(&app.ctx.keys, &place, row.version, &row).unwrap();
    let code = code_at(seed.expose(), at).unwrap();
    code.expose_secret().to_owned()
}

/// A code of the step after this one.
pub(crate) async fn next_code(app: &TestApp, client: &Client) -> String {
    code(app, client, Utc::now() + TimeDelta::seconds(30)).await
}

/// Switches the factor of a client on, and answers the recovery codes.
pub(crate) async fn enrol(app: &TestApp, client: &Client) -> Vec<String> {
    let body = json!({ "password": PASSWORD });
    let made = post(client, "/api/v1/me/second-factor", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let body = json!({ "code": code(app, client, Utc::now()).await });
    let confirmed = post(client, "/api/v1/me/second-factor/confirm", &body).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let codes = read(&confirmed)["recovery_codes"]
        .as_array()
        .unwrap()
        .clone();
    let text = |code: &Value| code.as_str().unwrap().to_owned();
    codes.iter().map(text).collect()
}

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    post(&app.anonymous(), "/api/v1/auth/login", &body).await
}

#[tokio::test]
async fn a_password_is_answered_with_a_challenge_and_a_code_with_a_session() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    let email = client.actor().email.clone();
    enrol(&app, &client).await;
    let wrong = login(&app, &email, "wrong horse battery").await;
    let nobody = login(&app, "nobody@example.com", "wrong horse battery").await;
    assert_eq!((wrong.status, &wrong.body), (401, &nobody.body));
    let asked = login(&app, &email, PASSWORD).await;
    assert_eq!((asked.status, asked.header("Set-Cookie")), (401, ""));
    let asked = read(&asked);
    assert_eq!(asked["code"], "second_factor_needed");
    let challenge = asked["challenge"].as_str().unwrap();
    // The challenge is no session.
    let refused = app
        .anonymous()
        .with_cookie(challenge)
        .get("/api/v1/me")
        .await;
    assert_eq!(refused.status, 401);
    let step = async |code: &str| {
        let body = json!({ "challenge": challenge, "code": code });
        post(&app.anonymous(), "/api/v1/auth/second-factor", &body).await
    };
    let wrong = step("000000").await;
    assert_eq!(wrong.status, 422);
    assert_eq!(read(&wrong)["errors"][0]["field"], "code");
    let code = next_code(&app, &client).await;
    let done = step(&code).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(read(&done)["email"], email);
    assert!(done.header("Set-Cookie").contains("HttpOnly"));
    assert_eq!(step(&code).await.status, 401);
}

#[tokio::test]
async fn tokens_need_no_second_factor_and_say_who_has_one() {
    let app = TestApp::spawn_with(|settings| {
        settings.security.require_second_factor = RequiredFactor::All;
    })
    .await;
    let admin = super::caller::Caller::admin(&app).await;
    let listed = admin.get("/api/v1/users").await.expect(200);
    assert_eq!(listed["items"][0]["second_factor"], false);
    let known = admin.get("/api/v1/me/second-factor").await.expect(200);
    assert_eq!(
        known,
        json!({ "since": null, "recovery_codes_left": 0, "required": true })
    );
}

#[tokio::test]
async fn a_session_without_a_required_factor_can_only_switch_one_on() {
    let app = TestApp::spawn_with(|settings| {
        settings.security.require_second_factor = RequiredFactor::All;
    })
    .await;
    let client = app.client_as(SystemRole::Developer).await;
    let named = json!({ "name": "a" });
    let proofs = json!({ "password": PASSWORD, "code": "000000" });
    let change = json!({ "current": PASSWORD, "password": "another battery staple" });
    for (method, path, body) in [
        (Method::GET, "/api/v1/projects", &named),
        (Method::POST, "/api/v1/me/tokens", &named),
        (Method::PATCH, "/api/v1/me", &named),
        (Method::PUT, "/api/v1/me/password", &change),
        (Method::POST, "/api/v1/me/second-factor/disable", &proofs),
    ] {
        let request = client.request(method, path).json(body);
        let refused = answer(request).await;
        assert_eq!(refused.status, 403, "{path}");
        assert_eq!(read(&refused)["code"], "second_factor_required", "{path}");
    }
    client.get("/").await.leads_to("/account/second-factor");
    client
        .get("/account")
        .await
        .leads_to("/account/second-factor");
    let page = client.get("/account/second-factor").await;
    page.shows("This installation asks your account for a second factor");
    assert_eq!(client.get("/api/v1/me").await.status, 200);
    enrol(&app, &client).await;
    assert_eq!(client.get("/api/v1/projects").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn an_admin_removes_somebodys_factor_over_http() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    enrol(&app, &client).await;
    let admin = super::caller::Caller::admin(&app).await;
    let path = format!("/api/v1/users/{}/second-factor", client.actor().user);
    admin.delete(&path).await.expect(204);
    assert_eq!(client.get("/api/v1/me").await.status, 401);
    assert_eq!(
        login(&app, &client.actor().email, PASSWORD).await.status,
        200
    );
    let again = admin.delete(&path).await;
    assert_eq!((again.status, again.code()), (409, "no_factor"));
}

#[tokio::test]
async fn neither_seed_nor_codes_are_told_twice_or_written_to_the_trail() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Admin).await;
    let body = json!({ "password": PASSWORD });
    let made = read(&post(&client, "/api/v1/me/second-factor", &body).await);
    let secret = SecretString::from(made["secret"].as_str().unwrap());
    assert!(made["uri"].as_str().unwrap().starts_with("otpauth://totp/"));
    let body = json!({ "code": code(&app, &client, Utc::now()).await });
    let confirmed = post(&client, "/api/v1/me/second-factor/confirm", &body).await;
    let codes = read(&confirmed)["recovery_codes"].clone();
    for path in [
        "/api/v1/me/second-factor",
        "/account/second-factor",
        "/api/v1/audit/export",
        "/api/v1/users",
    ] {
        let shown = client.get(path).await;
        assert_eq!(shown.status, 200, "{path}");
        shown.hides(secret.expose_secret());
        shown.hides(codes[0].as_str().unwrap());
    }
}
