//! Variables and secrets.

use serde_json::json;

use super::caller::Caller;
use crate::app::TestApp;

#[tokio::test]
async fn a_secret_is_written_and_never_read() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let path = "/api/v1/projects/web/secrets";
    let value = "canary-4711-value";
    admin
        .put(&format!("{path}/TOKEN"), json!({ "value": value }))
        .await
        .expect(204);
    admin
        .put(&format!("{path}/TOKEN"), json!({ "value": value }))
        .await
        .expect(204);
    let own = json!({ "value": "another one", "target": "live" });
    admin.put(&format!("{path}/TOKEN"), own).await.expect(204);
    let list = admin.get(path).await.expect(200);
    assert_eq!(list["items"][0]["version"], 2);
    assert_eq!(list["items"][1]["target"], "live");
    assert!(!list.to_string().contains(value) && !list.to_string().contains("ciphertext"));
    admin.get(&format!("{path}/TOKEN")).await.expect(404);
    admin
        .delete(&format!("{path}/TOKEN?target=live"))
        .await
        .expect(204);
    admin.delete(&format!("{path}/TOKEN")).await.expect(204);
    admin.delete(&format!("{path}/TOKEN")).await.expect(404);
}

#[tokio::test]
async fn former_versions_are_listed_and_destroyed() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let path = "/api/v1/projects/web/secrets/TOKEN";
    for value in ["canary-one", "canary-two"] {
        admin.put(path, json!({ "value": value })).await.expect(204);
    }
    let all = format!("{path}/versions");
    let list = admin.get(&all).await.expect(200);
    let versions = |list: &serde_json::Value| {
        let items = list["items"].as_array().unwrap().clone();
        let one = |item: &serde_json::Value| (item["version"].clone(), item["key_version"].clone());
        items.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(
        versions(&list),
        [(json!(2), json!(1)), (json!(1), json!(1))]
    );
    assert!(!list.to_string().contains("canary"), "{list}");
    let refused = admin.delete(&format!("{all}/2")).await.expect(409);
    assert_eq!(refused["code"], "secret_version_current");
    admin.delete(&format!("{all}/1")).await.expect(204);
    let list = admin.get(&all).await.expect(200);
    assert_eq!(
        versions(&list),
        [(json!(2), json!(1)), (json!(1), json!(null))]
    );
    assert!(list["items"][1]["destroyed_at"].is_string(), "{list}");
    admin.get(&format!("{path}X/versions")).await.expect(404);
    admin.get("/api/v1/deployments/1/secrets").await.expect(404);
}

#[tokio::test]
async fn values_that_no_step_could_receive_are_refused() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    for (path, body, field) in [
        ("secrets/A", json!({ "value": "abc" }), "value"),
        ("secrets/A", json!({ "value": "a\u{0}bcd" }), "value"),
        ("secrets/A", json!({ "value": "a".repeat(65_537) }), "value"),
        ("secrets/1A", json!({ "value": "abcd" }), "name"),
        ("secrets/SLIPWAY_X", json!({ "value": "abcd" }), "name"),
        ("secrets/A%0AB", json!({ "value": "abcd" }), "name"),
        ("variables/A-B", json!({ "value": "a" }), "name"),
        (
            "variables/A",
            json!({ "value": "a", "target": "nowhere" }),
            "target",
        ),
    ] {
        let answer = admin
            .put(&format!("/api/v1/projects/web/{path}"), body)
            .await;
        assert_eq!(
            (answer.status, answer.field()),
            (422, field),
            "{path}: {}",
            answer.body
        );
        assert!(
            !answer.body.to_string().contains("aaaaaaaa"),
            "the value came back"
        );
    }
}

#[tokio::test]
async fn a_variable_is_plain() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let path = "/api/v1/projects/web/variables";
    admin
        .put(&format!("{path}/COLOUR"), json!({ "value": "red" }))
        .await
        .expect(204);
    admin
        .put(&format!("{path}/COLOUR"), json!({ "value": "blue" }))
        .await
        .expect(204);
    let list = admin.get(path).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["value"], "blue");
    admin.delete(&format!("{path}/COLOUR")).await.expect(204);
}
