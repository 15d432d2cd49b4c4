//! Asking for deployments, and what becomes of them while nobody runs them.

use futures_util::future::join_all;
use serde_json::json;

use super::caller::Caller;
use crate::app::TestApp;

#[tokio::test]
async fn a_deployment_is_accepted_and_waits_for_a_worker() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let answer = admin.deploy().await;
    let location = answer.header("location").to_owned();
    let made = answer.expect(202);
    assert_eq!(location, format!("/api/v1/deployments/{}", made["id"]));
    assert_eq!(made["status"], "queued");
    assert_eq!(
        made["queue"],
        json!({
            "position": 1, "waiting_for": "worker", "waiting_text": "No worker is running"
        })
    );
    assert_eq!(made["project"]["slug"], "web");
    assert_eq!(made["target"]["slug"], "live");
    let second = admin.deploy().await.expect(202);
    assert_eq!(
        second["queue"],
        json!({
            "position": 2, "waiting_for": "older_deployment",
            "waiting_text": "An older deployment of the same target goes first"
        })
    );
    let list = admin
        .get("/api/v1/deployments?project=web&target=live&status=queued")
        .await;
    let list = list.expect(200);
    assert_eq!(list["items"][0]["id"], second["id"], "newest first");
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    admin
        .get("/api/v1/deployments?status=lost")
        .await
        .expect(422);
    admin
        .get("/api/v1/deployments?target=live")
        .await
        .expect(422);
}

#[tokio::test]
async fn a_repeated_request_makes_one_deployment() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let send = |key: &str, note: &str| {
        let request = admin
            .request("POST", "/api/v1/projects/web/deployments")
            .header("Idempotency-Key", key)
            .json(&json!({ "target": "live", "note": note }));
        admin.send(request)
    };
    let answers = join_all((0..20).map(|_| send("one", "same"))).await;
    let ids: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect(202)["id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let other = send("one", "another").await;
    assert_eq!(
        (other.status, other.code()),
        (409, "idempotency_key_reused")
    );
    assert_ne!(send("two", "same").await.expect(202)["id"], ids[0]);
    let bad = send("a b", "same").await;
    assert_eq!((bad.status, bad.field()), (422, "Idempotency-Key"));
}

#[tokio::test]
async fn cancelling_and_retrying_have_one_effect_however_often() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let id = admin.deploy().await.expect(202)["id"].clone();
    let path = format!("/api/v1/deployments/{id}");
    admin
        .post(&format!("{path}/retry"), json!({}))
        .await
        .expect(409);
    let (cancel, retry) = (format!("{path}/cancel"), format!("{path}/retry"));
    let cancels = join_all((0..5).map(|_| admin.post(&cancel, json!({})))).await;
    for answer in cancels {
        assert_eq!(answer.expect(200)["status"], "cancelled");
    }
    let retries = join_all((0..5).map(|_| admin.post(&retry, json!({})))).await;
    let ids: Vec<_> = retries
        .into_iter()
        .map(|answer| answer.expect(202)["id"].clone())
        .collect();
    assert!(
        ids.iter().all(|new| *new == ids[0] && *new != id),
        "{ids:?}"
    );
    let list = admin.get("/api/v1/deployments").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_project_without_a_pipeline_cannot_be_deployed() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin
        .post("/api/v1/projects", json!({ "slug": "web" }))
        .await
        .expect(201);
    let target = json!({ "slug": "live", "kind": "local", "path": "/srv/slipway-test" });
    admin
        .post("/api/v1/projects/web/targets", target)
        .await
        .expect(201);
    let answer = admin.deploy().await;
    assert_eq!((answer.status, answer.code()), (409, "pipeline_missing"));
}

#[tokio::test]
async fn nothing_is_accepted_while_the_queue_is_away() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    app.ctx.health.note_failure();
    let answer = admin.deploy().await;
    assert_eq!((answer.status, answer.code()), (503, "queue_unavailable"));
    assert_eq!(answer.header("retry-after"), "5");
    let list = admin.get("/api/v1/deployments").await.expect(200);
    assert_eq!(list["items"], json!([]), "reading goes on");
    let ready = admin.get("/health/ready").await;
    assert_eq!(ready.expect(503)["queue"], "down");
    admin.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn the_log_of_a_deployment_that_has_not_begun_is_empty() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let id = admin.deploy().await.expect(202)["id"].clone();
    let path = format!("/api/v1/deployments/{id}/log");
    let json = admin
        .get(&format!("{path}?format=json&after=0"))
        .await
        .expect(200);
    assert_eq!(json, json!({ "items": [], "next_after": null }));
    let text = admin.get(&path).await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(text.expect(200), json!(""));
    admin.get(&format!("{path}?format=html")).await.expect(422);
    admin.get(&format!("{path}?after=-1")).await.expect(422);
    admin.get("/api/v1/deployments/999/log").await.expect(404);
    admin.get("/api/v1/deployments/x").await.expect(404);
}
