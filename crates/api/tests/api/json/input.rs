//! Input that is not acceptable: said clearly, with the field, and nothing happens.

use serde_json::{Value, json};

use super::caller::Caller;
use crate::app::TestApp;

#[tokio::test]
async fn unknown_fields_and_wrong_types_are_named() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let refused = [
        (json!({ "slug": "a", "colour": "red" }), "colour"),
        (json!({ "slug": 1 }), "slug"),
        (
            json!({ "slug": "a", "queue_policy": "never" }),
            "queue_policy",
        ),
        (
            json!({ "slug": "a", "retry_delays": [1, "x"] }),
            "retry_delays[1]",
        ),
        (
            json!({ "slug": "a", "retry_attempts": 11 }),
            "retry_attempts",
        ),
        (json!({ "slug": "a", "retry_delays": [] }), "retry_delays"),
        (json!({ "slug": "A" }), "slug"),
        (json!({ "slug": "7" }), "slug"),
        (json!({ "slug": "a", "name": "two\nlines" }), "name"),
        (
            json!({ "slug": "a", "default_branch": "-x" }),
            "default_branch",
        ),
        (json!({}), "body"),
    ];
    for (body, field) in refused {
        let answer = admin.post("/api/v1/projects", body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid"),
            "{body}: {}",
            answer.body
        );
        assert_eq!(answer.field(), field, "{body}: {}", answer.body);
    }
    assert_eq!(
        admin.get("/api/v1/projects").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn only_safe_repositories_are_accepted() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    for address in [
        "--upload-pack=touch /tmp/p",
        "ext::sh -c id",
        "file:///etc",
        "/etc",
        "git://a/b",
        "http://a/b",
        "fd::3",
        "ssh://-oProxyCommand=id/a",
        "https://a\n/b",
        "https://u:p@a/b",
        "-c core.sshCommand=id",
        "../a",
    ] {
        let answer = admin.post(
            "/api/v1/projects",
            json!({ "slug": "a", "repository": address }),
        );
        let answer = answer.await;
        assert_eq!(
            (answer.status, answer.field()),
            (422, "repository"),
            "{address}"
        );
    }
    let good = json!({ "slug": "a", "repository": "https://example.com/a/b.git" });
    admin.post("/api/v1/projects", good).await.expect(201);
}

#[tokio::test]
async fn refs_and_notes_are_checked() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let repository = json!({ "repository": "https://example.com/a/b.git" });
    admin
        .patch("/api/v1/projects/web", repository)
        .await
        .expect(200);
    let path = "/api/v1/projects/web/deployments";
    for name in [
        "--upload-pack=x",
        "-h",
        "a b",
        "a..b",
        "main\n",
        "a\u{0}b",
        "HEAD~1",
        "@{u}",
    ] {
        let answer = admin
            .post(path, json!({ "target": "live", "ref": name }))
            .await;
        assert_eq!((answer.status, answer.field()), (422, "ref"), "{name:?}");
    }
    // Data, not shell: it goes to git as one argument.
    for name in ["main;touch p", "$(id)", "`id`"] {
        let name = name.replace(' ', "");
        let answer = admin
            .post(path, json!({ "target": "live", "ref": name }))
            .await;
        assert_eq!(answer.expect(202)["ref"], Value::String(name));
    }
    let answer = admin
        .post(path, json!({ "target": "live", "note": "a\u{202e}b" }))
        .await;
    assert_eq!((answer.status, answer.field()), (422, "note"));
    let answer = admin.post(path, json!({ "target": "nowhere" })).await;
    assert_eq!((answer.status, answer.field()), (422, "target"));
}

#[tokio::test]
async fn a_pipeline_error_says_line_and_column() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let path = "/api/v1/projects/web/pipeline";
    let source = "after:\n  - name: a\n    run: 'true'\n    timeout: ten\n    tiemout: 1s\n";
    let answer = admin.put(path, json!({ "source": source })).await;
    let text = answer.body["errors"].to_string();
    assert!(text.contains("line 4, column 14"), "{text}");
    assert!(text.contains("line 5, column 5"), "{text}");
    answer.expect(422);

    let yaml = admin
        .request("PUT", path)
        .header("Content-Type", "text/yaml")
        .body(source);
    let answer = admin.send(yaml).await;
    assert_eq!((answer.status, answer.field()), (422, "source"));
    let other = admin
        .request("PUT", path)
        .header("Content-Type", "text/plain")
        .body(source);
    admin.send(other).await.expect(415);
    // What was there before is still there.
    let kept = admin.get(path).await.expect(200);
    assert_eq!(kept["source"], "after: [{ name: a, run: 'true' }]");
}

#[tokio::test]
async fn a_project_without_a_repository_cannot_build() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let source = json!({ "source": "build: [{ name: a, run: 'true' }]" });
    let answer = admin.put("/api/v1/projects/web/pipeline", source).await;
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("no repository"),
        "{}",
        answer.body
    );
    answer.expect(422);
}

#[tokio::test]
async fn bodies_have_a_form_and_a_size() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let path = "/api/v1/projects";
    let send = |kind: &'static str, body: String| {
        let request = admin
            .request("POST", path)
            .header("Content-Type", kind)
            .body(body);
        admin.send(request)
    };
    let answer = send("application/json", "{\"slug\": ".to_owned()).await;
    assert_eq!((answer.status, answer.code()), (400, "malformed_body"));
    let answer = send("application/json", "{\"slug\": \"a\"} x".to_owned()).await;
    assert_eq!((answer.status, answer.code()), (400, "malformed_body"));
    let answer = send("text/plain", "{\"slug\": \"a\"}".to_owned()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (415, "unsupported_media_type")
    );
    let large = format!("{{\"slug\": \"{}\"}}", "a".repeat(600 * 1024));
    let answer = send("application/json", large).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    let list = send("application/json", "[\"a\"]".to_owned()).await;
    assert_eq!((list.status, list.field()), (422, "body"));
    let deep = format!("{{\"slug\": {}", "[".repeat(5000));
    assert_eq!(send("application/json", deep).await.status, 422);
}

#[tokio::test]
async fn targets_have_an_absolute_folder_and_no_tricks() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let path = "/api/v1/projects/web/targets";
    for (body, field) in [
        (
            json!({ "slug": "a", "kind": "local", "path": "srv" }),
            "path",
        ),
        (
            json!({ "slug": "a", "kind": "local", "path": "/srv/../etc" }),
            "path",
        ),
        (json!({ "slug": "a", "kind": "local", "path": "/" }), "path"),
        (
            json!({ "slug": "a", "kind": "space", "path": "/srv/a" }),
            "kind",
        ),
        (
            json!({ "slug": "a", "kind": "local", "path": "/srv/a", "hosts": ["b"] }),
            "hosts",
        ),
        (
            json!({ "slug": "a", "kind": "local", "path": "/srv/a", "strategy": { "batch": "x" } }),
            "strategy",
        ),
    ] {
        let answer = admin.post(path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.field()),
            (422, field),
            "{body}: {}",
            answer.body
        );
    }
    let again = json!({ "slug": "live", "kind": "local", "path": "/srv/b" });
    let answer = admin.post(path, again).await;
    assert_eq!((answer.status, answer.code()), (409, "slug_taken"));
}
