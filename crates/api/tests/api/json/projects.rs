//! Projects: pages of a list, changes, deletion.

use serde_json::json;

use super::caller::Caller;
use crate::app::TestApp;

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    for slug in ["a", "b", "c", "d", "e"] {
        admin
            .post("/api/v1/projects", json!({ "slug": slug }))
            .await
            .expect(201);
    }
    let mut slugs = Vec::new();
    let mut path = "/api/v1/projects?limit=2".to_owned();
    loop {
        let page = admin.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        slugs.extend(
            items
                .iter()
                .map(|item| item["slug"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/projects?limit=2&cursor={cursor}");
    }
    assert_eq!(slugs, ["a", "b", "c", "d", "e"]);
    for bad in [
        "cursor=1",
        "cursor=x",
        "limit=0",
        "limit=201",
        "limit=x",
        "colour=red",
    ] {
        let answer = admin.get(&format!("/api/v1/projects?{bad}")).await;
        assert_eq!((answer.status, answer.code()), (422, "invalid"), "{bad}");
    }
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let body = json!({
        "slug": "web", "name": "Web", "repository": "https://example.com/a.git",
        "retry_attempts": 2, "retry_delays": [10, 20], "queue_policy": "keep_newest"
    });
    let made = admin.post("/api/v1/projects", body).await;
    assert_eq!(made.header("location"), "/api/v1/projects/web");
    let made = made.expect(201);
    let same = admin
        .patch("/api/v1/projects/web", json!({}))
        .await
        .expect(200);
    for key in [
        "slug",
        "name",
        "repository",
        "retry_attempts",
        "retry_delays",
        "queue_policy",
    ] {
        assert_eq!(same[key], made[key], "{key}");
    }
    let change = json!({ "retry_attempts": null, "name": "New" });
    let changed = admin
        .patch("/api/v1/projects/web", change)
        .await
        .expect(200);
    assert_eq!(changed["retry_attempts"], json!(null));
    assert_eq!(changed["name"], "New");
    assert_eq!(changed["retry_delays"], json!([10, 20]));
    let by_id = admin
        .get(&format!("/api/v1/projects/{}", made["id"]))
        .await
        .expect(200);
    assert_eq!(by_id["slug"], "web");
    let again = admin
        .post("/api/v1/projects", json!({ "slug": "web" }))
        .await;
    assert_eq!((again.status, again.code()), (409, "slug_taken"));
}

#[tokio::test]
async fn a_project_is_not_deleted_under_a_deployment() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let deployment = admin.deploy().await.expect(202);
    let answer = admin.delete("/api/v1/projects/web").await;
    assert_eq!((answer.status, answer.code()), (409, "deployments_open"));
    let cancel = format!("/api/v1/deployments/{}/cancel", deployment["id"]);
    admin.post(&cancel, json!({})).await.expect(200);
    admin.delete("/api/v1/projects/web").await.expect(204);
    admin
        .get(&format!("/api/v1/deployments/{}", deployment["id"]))
        .await
        .expect(404);
}
