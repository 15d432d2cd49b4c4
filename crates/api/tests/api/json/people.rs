//! People over HTTP: invitations, mail, passwords, tokens, sign-in under attack, live streams.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use slipway_core::{
    access::{ProjectRole, SystemRole},
    account::throttle::{BURST, FREE},
    settings::{Smtp, SmtpTls},
};
use slipway_testkit::{MailServer, eventually};

use super::caller::Caller;
use crate::app::{Answer, Client, PASSWORD, TestApp, answer};

const NEW: &str = "another battery staple";

async fn login(client: &Client, email: &str, password: &str, forwarded: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    let request = client.request(reqwest::Method::POST, "/api/v1/auth/login");
    answer(request.header("X-Forwarded-For", forwarded).json(&body)).await
}

#[tokio::test]
async fn somebody_who_is_invited_sets_a_password_and_signs_in() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.public_url = Some("http://deploy.example.com/".to_owned());
    })
    .await;
    let admin = Caller::admin(&app).await;
    let body = json!({ "email": "ann@example.com", "name": "Ann", "role": "developer" });
    let made = admin.post("/api/v1/users", body).await.expect(201);
    assert_eq!(
        (&made["pending"], &made["kind"]),
        (&json!(true), &json!("person"))
    );
    let code = made["invitation"]["code"].as_str().unwrap();
    let url = format!("http://deploy.example.com/password#{code}");
    assert_eq!(made["invitation"]["url"], url);
    let listed = admin.get("/api/v1/users").await.expect(200).to_string();
    assert!(!listed.contains(code), "{listed}");
    let stranger = Caller::stranger(&app);
    let short = json!({ "code": code, "password": "short" });
    let refused = stranger.post("/api/v1/auth/password", short).await;
    assert_eq!(refused.field(), "password");
    refused.expect(422);
    let body = json!({ "code": code, "password": NEW });
    stranger
        .post("/api/v1/auth/password", body.clone())
        .await
        .expect(204);
    let again = stranger.post("/api/v1/auth/password", body).await;
    assert_eq!(again.field(), "code");
    again.expect(422);
    let client = app.anonymous();
    assert_eq!(login(&client, "ann@example.com", NEW, "").await.status, 200);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_mail() {
    let mail = MailServer::start();
    let port = mail.port();
    let app = TestApp::spawn_with(|settings| {
        settings.server.public_url = Some("http://deploy.example.com".to_owned());
        settings.smtp = Some(Smtp {
            host: "127.0.0.1".to_owned(),
            port,
            tls: SmtpTls::Off,
            username: None,
            password: None,
            from: "slipway@example.com".to_owned(),
        });
    })
    .await;
    app.create_user("ann@example.com", "Ann", SystemRole::Developer)
        .await;
    let stranger = Caller::stranger(&app);
    for email in ["nobody@example.com", "Ann@example.com"] {
        let body = json!({ "email": email });
        stranger.post("/api/v1/auth/forgot", body).await.expect(202);
    }
    let received = eventually(Duration::from_secs(20), async || {
        let received = mail.received();
        if received.is_empty() {
            Err("no mail yet")
        } else {
            Ok(received)
        }
    })
    .await;
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(received[0].to, ["ann@example.com"]);
    assert_eq!(received[0].from, "slipway@example.com");
    // Lines of a mail are short; a long one goes on behind its `=`.
    let content = received[0].content.replace("=\n", "");
    let (_, code) = content.split_once("/password#").unwrap();
    let code = code.lines().next().unwrap();
    let body = json!({ "code": code, "password": NEW });
    stranger
        .post("/api/v1/auth/password", body)
        .await
        .expect(204);
    let client = app.anonymous();
    assert_eq!(
        login(&client, "ann@example.com", PASSWORD, "").await.status,
        401
    );
    assert_eq!(login(&client, "ann@example.com", NEW, "").await.status, 200);
}

#[tokio::test]
async fn a_new_password_comes_with_a_new_session() {
    let app = TestApp::spawn().await;
    let client = app.client_as(SystemRole::Developer).await;
    let other = app.client_of(&client.actor().email).await;
    let change = |current: &str| {
        let body = json!({ "current": current, "password": NEW });
        client
            .request(reqwest::Method::PUT, "/api/v1/me/password")
            .json(&body)
    };
    assert_eq!(answer(change("wrong")).await.status, 422);
    let changed = answer(change(PASSWORD)).await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    let cookie = changed.header("set-cookie").to_owned();
    for old in [&client, &other] {
        assert_eq!(old.get("/api/v1/me").await.status, 401);
    }
    let value = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    let renewed = client.with_cookie(&value);
    assert_eq!(renewed.get("/api/v1/me").await.status, 200);
}

#[tokio::test]
async fn the_cookie_is_bound_to_the_host_when_there_is_tls() {
    for (url, expected) in [
        ("https://deploy.example.com", "__Host-slipway_session"),
        ("http://deploy.example.com", "slipway_session"),
    ] {
        let app = TestApp::spawn_with(|settings| {
            settings.server.public_url = Some(url.to_owned());
        })
        .await;
        let answered = login(&app.anonymous(), "admin@example.com", PASSWORD, "").await;
        let cookie = answered.header("set-cookie").to_owned();
        let (name, rest) = cookie.split_once('=').unwrap();
        assert_eq!(name, expected, "{cookie}");
        assert!(
            rest.contains("HttpOnly") && rest.contains("SameSite=Lax"),
            "{cookie}"
        );
        assert_eq!(
            rest.contains("Secure"),
            url.starts_with("https"),
            "{cookie}"
        );
        assert!(
            rest.contains("Path=/") && !rest.contains("Domain"),
            "{cookie}"
        );
        let value = rest.split(';').next().unwrap();
        for (sent, status) in [("slipway_session", 401), ("__Host-slipway_session", 401)] {
            let status = if sent == expected { 200 } else { status };
            let request = app.anonymous().request(reqwest::Method::GET, "/api/v1/me");
            let answered = answer(request.header("Cookie", format!("{sent}={value}"))).await;
            assert_eq!(answered.status, status, "{sent} at {url}");
        }
    }
}

#[tokio::test]
async fn a_service_works_with_tokens_that_an_admin_makes() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let body = json!({
        "email": "ci@example.com", "name": "CI", "role": "developer", "kind": "service"
    });
    let made = admin.post("/api/v1/users", body.clone()).await.expect(201);
    assert_eq!(made["invitation"], Value::Null);
    let mut with_password = body;
    with_password["email"] = json!("other@example.com");
    with_password["password"] = json!(PASSWORD);
    admin.post("/api/v1/users", with_password).await.expect(422);
    let path = format!("/api/v1/users/{}/tokens", made["id"]);
    let token = json!({ "name": "build", "scopes": ["read", "deploy"] });
    let token = admin.post(&path, token).await.expect(201);
    let robot = admin.with_token(token["token"].as_str().unwrap());
    assert_eq!(
        robot.get("/api/v1/me").await.expect(200)["email"],
        "ci@example.com"
    );
    let refused = robot
        .post("/api/v1/projects", json!({ "slug": "web" }))
        .await;
    assert_eq!(refused.code(), "token_limited");
    refused.expect(403);
    let listed = admin.get(&path).await.expect(200);
    assert_eq!(listed["items"][0]["scopes"], json!(["read", "deploy"]));
    admin
        .delete(&format!("{path}/{}", token["id"]))
        .await
        .expect(204);
    robot.get("/api/v1/me").await.expect(401);
}

#[tokio::test]
async fn a_token_ends_in_ninety_days_unless_its_maker_says_otherwise() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let usual = admin
        .post("/api/v1/me/tokens", json!({ "name": "a" }))
        .await
        .expect(201);
    let end: chrono::DateTime<chrono::Utc> = usual["expires_at"].as_str().unwrap().parse().unwrap();
    let days = (end - chrono::Utc::now()).num_days();
    assert!((88..=90).contains(&days), "{days}");
    let never = json!({ "name": "a", "expires_at": null });
    let never = admin.post("/api/v1/me/tokens", never).await.expect(201);
    assert_eq!(never["expires_at"], Value::Null);
}

#[tokio::test]
async fn a_thousand_wrong_passwords_from_forged_addresses_are_slowed_down() {
    let app = TestApp::spawn().await;
    let client = app.anonymous();
    let mut looked_at = 0;
    for number in 0..1_000 {
        let forged = format!("203.0.{}.{}", number / 250, number % 250 + 1);
        // Every account is tried once at most five times: only the address can slow them down.
        let email = format!("user{}@example.com", number / 4);
        let refused = login(&client, &email, "wrong horse battery", &forged).await;
        match refused.status {
            401 => looked_at += 1,
            429 => assert!(refused.header("Retry-After").parse::<u64>().unwrap() >= 1),
            other => panic!("{other}: {}", refused.body),
        }
    }
    let burst = usize::try_from(BURST).unwrap();
    assert!(looked_at >= burst && looked_at < burst + 100, "{looked_at}");
}

#[tokio::test]
async fn one_account_is_slowed_down_from_however_many_addresses() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let client = app.anonymous();
    let mut looked_at = 0;
    for number in 0..200 {
        let forwarded = format!("203.0.113.{}", number + 1);
        let refused = login(
            &client,
            "admin@example.com",
            "wrong horse battery",
            &forwarded,
        )
        .await;
        looked_at += i64::from(refused.status == 401);
    }
    assert!((FREE + 1..FREE + 10).contains(&looked_at), "{looked_at}");
    // Others are not: the address that the proxy names is theirs alone.
    app.create_user("ann@example.com", "Ann", SystemRole::Developer)
        .await;
    let signed_in = login(&client, "ann@example.com", PASSWORD, "203.0.113.250").await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
}

/// Kilobytes of this process that are in memory, the server included.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sign_ins_at_once_take_little_memory() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let client = app.anonymous();
    login(
        &client,
        "a@example.com",
        "wrong horse battery",
        "203.0.113.1",
    )
    .await;
    let before = resident();
    let attempts = (0..200).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let (email, from) = (
                format!("u{number}@example.com"),
                format!("203.0.113.{number}"),
            );
            login(&client, &email, "wrong horse battery", &from)
                .await
                .status
        })
    });
    let attempts: Vec<_> = attempts.collect();
    let mut most = before;
    for attempt in attempts {
        let status = attempt.await.unwrap();
        assert!(matches!(status, 401 | 429), "{status}");
        most = most.max(resident());
    }
    let grown = most.saturating_sub(before) / 1024;
    println!("200 sign-ins at once: {grown} MiB more");
    // Two at once need 19 MiB each; all two hundred would need 3,800.
    assert!(grown < 128, "{grown} MiB");
}

/// A live stream of a deployment; answers when it ends.
async fn follow(client: &Client, id: i64) -> reqwest::Response {
    let path = format!("/api/v1/deployments/{id}/events");
    let response = client
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// How long it goes on.
async fn ends(mut stream: reqwest::Response) -> Duration {
    let start = Instant::now();
    let all = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("the stream ends");
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_ends_with_the_right_to_it() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await.0;
    let admin = Caller::admin(&app).await;
    for how in ["role", "disabled", "member", "session", "password"] {
        let client = app.client_as(SystemRole::Developer).await;
        app.member("web", client.actor(), ProjectRole::Member).await;
        let user = client.actor().user;
        let stays = app.client_as(SystemRole::Viewer).await;
        let (stream, mut other) = (follow(&client, id).await, follow(&stays, id).await);
        let path = format!("/api/v1/users/{user}");
        match how {
            "role" => {
                admin
                    .patch(&path, json!({ "role": "viewer" }))
                    .await
                    .expect(200);
            }
            "disabled" => {
                admin
                    .patch(&path, json!({ "disabled": true }))
                    .await
                    .expect(200);
            }
            "member" => {
                let path = format!("/api/v1/projects/web/members/{user}");
                admin.delete(&path).await.expect(204);
            }
            "session" => {
                let signed_out = client.request(reqwest::Method::POST, "/api/v1/auth/logout");
                assert_eq!(answer(signed_out).await.status, 204);
            }
            _ => {
                let link = admin
                    .post(&format!("{path}/password-link"), json!({}))
                    .await;
                let code = link.expect(201)["code"].as_str().unwrap().to_owned();
                let body = json!({ "code": code, "password": NEW });
                let stranger = Caller::stranger(&app);
                stranger
                    .post("/api/v1/auth/password", body)
                    .await
                    .expect(204);
            }
        }
        println!("{how}: the stream ended after {:?}", ends(stream).await);
        let expected = if how == "member" { 404 } else { 401 };
        let path = format!("/api/v1/deployments/{id}");
        assert_eq!(client.get(&path).await.status, expected, "{how}");
        // Other people's streams go on.
        while let Some(more) = other.chunk().now_or_never() {
            assert!(more.unwrap().is_some(), "{how}: another stream ended too");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_ends_with_its_token() {
    let app = TestApp::spawn().await;
    app.project("web").await;
    let id = app.deployment("web", None).await.0;
    let admin = Caller::admin(&app).await;
    let made = admin
        .post("/api/v1/me/tokens", json!({ "name": "a" }))
        .await
        .expect(201);
    let token: SecretString = made["token"].as_str().unwrap().into();
    let path = format!("/api/v1/deployments/{id}/events");
    let client = app.anonymous();
    let request = client.bare(&reqwest::Method::GET, &path);
    let stream = request
        .bearer_auth(token.expose_secret())
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    admin
        .delete(&format!("/api/v1/me/tokens/{}", made["id"]))
        .await
        .expect(204);
    ends(stream).await;
}
