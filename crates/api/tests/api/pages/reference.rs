//! The API's reference.

use serde_json::Value;

use crate::app::TestApp;

#[tokio::test]
async fn the_reference_lists_every_operation_of_the_document() {
    let app = TestApp::spawn().await;
    let client = app.anonymous();
    let document = client.get("/api/openapi.json").await;
    let document: Value = serde_json::from_str(&document.body).unwrap();
    let page = client.get("/api/docs").await;
    assert_eq!(page.status, 200);
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            page.shows(&format!(
                "is-{method}\">{method}</span> <code>{path}</code>"
            ));
            operations += 1;
        }
    }
    assert!(operations > 30, "{operations}");
    assert_eq!(
        page.body.matches("class=\"operation card\"").count(),
        operations
    );
    for shape in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        page.shows(&format!("id=\"shape-{shape}\""));
    }
}

#[tokio::test]
async fn the_reference_tells_parameters_fields_and_answers() {
    let app = TestApp::spawn().await;
    let page = app.admin().await.get("/api/docs").await;
    page.shows("Sign out");
    let (_, deploy) = page
        .body
        .split_once("/api/v1/projects/{project}/deployments</code>")
        .unwrap();
    let (deploy, _) = deploy.split_once("</details>").unwrap();
    for told in [
        "<code>Idempotency-Key</code>",
        "<span class=\"dim\">header</span>",
        "<code>target</code> <span class=\"required\">required</span>",
        "A branch, a tag or a full commit id; the project&#39;s default branch otherwise.",
        "string or null",
        "<code>202</code> <a href=\"#shape-DeploymentView\">DeploymentView</a>",
        "<code>503</code>",
    ] {
        assert!(deploy.contains(told), "no {told} in:\n{deploy}");
    }
    page.shows("list of <a href=\"#shape-StepView\">StepView</a>");
    page.shows("<a href=\"#shape-QueuePlace\">QueuePlace</a> or null");
    page.shows("<code>awaiting_approval</code>");
}
