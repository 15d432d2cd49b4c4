//! Who may call which route, over the whole list of routes.

use serde_json::{Value, json};
use slipway_core::access::SystemRole;

use super::{
    caller::Caller,
    routes::{filled, operations},
};
use crate::app::TestApp;

const HOST_KEY: &str = "example.com ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

/// A body that each route would accept.
fn body(method: &str, path: &str) -> Option<Value> {
    let body = match (method, path) {
        ("PATCH", _) => json!({}),
        ("PUT", path) if path.ends_with("/lock") => json!({ "reason": "stocktaking" }),
        ("PUT", path) if path.ends_with("/pipeline") => {
            json!({ "source": "after: [{ name: b, run: 'true' }]" })
        }
        ("PUT", path) if path.ends_with("/mute") => {
            json!({ "until": "2100-01-01T00:00:00Z", "reason": "stocktaking" })
        }
        ("POST", path) if path.ends_with("/subscriptions") => {
            json!({ "channels": [1], "events": ["failed"] })
        }
        ("PUT", path) if path.contains("/members/") => json!({ "role": "member" }),
        ("PUT", _) => json!({ "value": "something" }),
        ("POST", path) if path.ends_with("/ssh-keys") => json!({}),
        ("POST", path) if path.ends_with("/host-keys") => json!({ "lines": HOST_KEY }),
        ("POST", path) if path.ends_with("/targets") => {
            json!({ "slug": "other", "kind": "local", "path": "/srv/other" })
        }
        ("POST", path) if path.ends_with("/projects/{project}/deployments") => {
            json!({ "target": "live" })
        }
        _ => return None,
    };
    Some(body)
}

async fn call(caller: &Caller, method: &str, path: &str) -> u16 {
    let request = caller.request(method, &filled(path));
    let request = match body(method, path) {
        Some(body) => request.json(&body),
        None => request,
    };
    caller.send(request).await.status
}

/// Routes about a project or a deployment.
fn project_routes() -> Vec<(String, String)> {
    let routes = operations()
        .into_iter()
        .map(|(method, path, _)| (method, path));
    routes
        .filter(|(_, path)| path.contains("{project}") || path.contains("/deployments/{id}"))
        .collect()
}

#[tokio::test]
async fn what_somebody_may_not_see_does_not_exist() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    admin.deploy().await.expect(202);
    let outsider = Caller::of_role(&app, SystemRole::Developer).await;
    let routes = project_routes();
    assert!(routes.len() > 20);
    for (method, path) in routes {
        assert_eq!(
            call(&outsider, &method, &path).await,
            404,
            "{method} {path}"
        );
    }
    let list = outsider.get("/api/v1/projects").await.expect(200);
    assert_eq!(list["items"], json!([]));
    let list = outsider.get("/api/v1/deployments").await.expect(200);
    assert_eq!(list["items"], json!([]));
    let list = outsider.get("/api/v1/deployments?project=web").await;
    list.expect(404);
}

/// Has the project tell somebody something.
async fn subscribe(admin: &Caller) {
    let settings = json!({ "server": "https://ntfy.example" });
    let provider = json!({ "name": "ntfy", "kind": "ntfy", "settings": settings });
    let provider = admin.post("/api/v1/providers", provider).await.expect(201);
    let settings = json!({ "topic": "deployments" });
    let channel = json!({ "provider": provider["id"], "name": "all", "settings": settings });
    let channel = admin.post("/api/v1/channels", channel).await.expect(201);
    let wanted = json!({ "channels": [channel["id"]], "events": ["failed"] });
    let path = "/api/v1/projects/web/subscriptions";
    admin.post(path, wanted).await.expect(201);
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    admin.deploy().await.expect(202);
    let secret = json!({ "value": "something" });
    admin
        .put("/api/v1/projects/web/secrets/NAME", secret)
        .await
        .expect(204);
    let viewer = Caller::of_role(&app, SystemRole::Viewer).await;
    for place in ["web", "web/targets/live"] {
        let path = format!("/api/v1/projects/{place}/lock");
        let lock = json!({ "reason": "stocktaking" });
        admin.put(&path, lock).await.expect(200);
    }
    subscribe(&admin).await;
    for (method, path) in project_routes() {
        // A stream does not end while the deployment waits.
        if path.ends_with("/events") {
            continue;
        }
        let expected = if method == "GET" { 200 } else { 403 };
        assert_eq!(
            call(&viewer, &method, &path).await,
            expected,
            "{method} {path}"
        );
    }
    viewer
        .post("/api/v1/projects", json!({ "slug": "own" }))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_member_works_on_a_project_and_does_not_govern_it() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let member = Caller::of_role(&app, SystemRole::Developer).await;
    let id = member.get("/api/v1/me").await.expect(200)["id"].clone();
    let place = format!("/api/v1/projects/web/members/{id}");
    admin
        .put(&place, json!({ "role": "member" }))
        .await
        .expect(204);

    let deployment = member.deploy().await.expect(202);
    let cancel = format!("/api/v1/deployments/{}/cancel", deployment["id"]);
    member.post(&cancel, json!({})).await.expect(200);
    member
        .put("/api/v1/projects/web/secrets/A", json!({ "value": "abcd" }))
        .await
        .expect(204);
    member.delete("/api/v1/projects/web").await.expect(403);
    member
        .put(&place, json!({ "role": "owner" }))
        .await
        .expect(403);

    admin.delete(&place).await.expect(204);
    member.get("/api/v1/projects/web").await.expect(404);
}

#[tokio::test]
async fn accounts_are_an_admins_business() {
    let app = TestApp::spawn().await;
    let new = json!({
        "email": "new@example.com", "name": "New", "role": "viewer", "password": "long enough it is"
    });
    for role in [
        SystemRole::Manager,
        SystemRole::Developer,
        SystemRole::Viewer,
    ] {
        let caller = Caller::of_role(&app, role).await;
        caller.get("/api/v1/users").await.expect(403);
        caller.post("/api/v1/users", new.clone()).await.expect(403);
        let own = caller.get("/api/v1/me").await.expect(200)["id"].clone();
        let own = format!("/api/v1/users/{own}");
        caller
            .patch(&own, json!({ "role": "admin" }))
            .await
            .expect(403);
        caller
            .patch(&own, json!({ "name": "Another name" }))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn nested_ids_of_another_project_are_not_found() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    admin
        .post("/api/v1/projects", json!({ "slug": "other" }))
        .await
        .expect(201);
    let target = admin
        .get("/api/v1/projects/web/targets/live")
        .await
        .expect(200)["id"]
        .clone();
    admin
        .get(&format!("/api/v1/projects/other/targets/{target}"))
        .await
        .expect(404);
    admin
        .delete(&format!("/api/v1/projects/other/targets/{target}"))
        .await
        .expect(404);
    let value = json!({ "value": "abcd", "target": target.to_string() });
    let answer = admin.put("/api/v1/projects/other/secrets/A", value).await;
    assert_eq!(answer.field(), "target");
    answer.expect(422);
}
