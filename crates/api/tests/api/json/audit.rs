//! The audit trail over HTTP.

use serde_json::{Value, json};
use slipway_core::{access::SystemRole, audit::seal};

use super::caller::Caller;
use crate::app::TestApp;

#[tokio::test]
async fn the_trail_is_listed_page_by_page_and_searched() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let page = admin.get("/api/v1/audit?limit=2").await.expect(200);
    let actions = |page: &Value| {
        let items = page["items"].as_array().unwrap();
        let words = items
            .iter()
            .map(|item| item["action"].as_str().unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    assert_eq!(actions(&page), ["pipeline.update", "target.create"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = admin
        .get(&format!("/api/v1/audit?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(
        actions(&next.expect(200)),
        ["project.create", "token.create"]
    );
    let found = admin
        .get("/api/v1/audit?action=target&text=live")
        .await
        .expect(200);
    assert_eq!(actions(&found), ["target.create"]);
    let item = &found["items"][0];
    assert_eq!(item["actor"], "admin@example.com");
    assert_eq!(item["role"], "admin");
    assert_eq!(item["address"], "127.0.0.1");
    assert_eq!(item["credential"], "token");
    assert_eq!(item["after"]["path"], "/srv/slipway-test");
    assert_eq!(item["before"], Value::Null);
    admin.get("/api/v1/audit?cursor=7").await.expect(422);
    admin
        .get("/api/v1/audit?action=1&colour=red")
        .await
        .expect(422);
}

#[tokio::test]
async fn the_trail_is_exported_as_lines_of_json() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    for number in 0..1_100 {
        let body = json!({ "value": number.to_string() });
        if number == 0 {
            admin.make_project().await;
        }
        admin
            .put("/api/v1/projects/web/variables/A", body)
            .await
            .expect(204);
    }
    seal::run_once(&app.ctx).await.unwrap();
    let answer = admin.get("/api/v1/audit/export?action=variable").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = answer.expect(200);
    let lines: Vec<Value> = text
        .as_str()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1_100);
    assert!(lines.is_sorted_by_key(|line| line["id"].as_i64()));
    let seals: Vec<i64> = lines
        .iter()
        .map(|line| line["seal"].as_i64().unwrap())
        .collect();
    assert!(seals[0] >= 1 && seals.is_sorted(), "{seals:?}");
}

#[tokio::test]
async fn the_trail_is_for_those_who_operate() {
    let app = TestApp::spawn().await;
    for (role, status) in [
        (SystemRole::Manager, 200),
        (SystemRole::Developer, 403),
        (SystemRole::Viewer, 403),
    ] {
        let caller = Caller::of_role(&app, role).await;
        for path in ["/api/v1/audit", "/api/v1/audit/export"] {
            assert_eq!(caller.get(path).await.status, status, "{role} {path}");
        }
    }
}
