//! The document and the router are the same list.

use serde_json::Value;

use super::caller::Caller;
use crate::app::TestApp;

/// Every operation of the document: method and path with its parameters filled in.
pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let document = slipway_api::server::describe().unwrap().0;
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    operations
}

/// A path with something in the place of each parameter.
pub(crate) fn filled(path: &str) -> String {
    path.replace("{project}", "web")
        .replace("{target}", "live")
        .replace("{name}", "NAME")
        .replace("{user_id}", "1")
        .replace("{version}", "1")
        .replace("{token_id}", "1")
        .replace("{id}", "1")
}

#[tokio::test]
async fn every_described_route_exists_and_asks_who_is_there() {
    let app = TestApp::spawn().await;
    let stranger = Caller::stranger(&app);
    let operations = operations();
    assert!(
        operations.len() > 35,
        "only {} operations",
        operations.len()
    );
    for (method, path, _) in operations {
        let request = stranger.request(&method, &filled(&path));
        let answer = stranger.send(request.json(&serde_json::json!({}))).await;
        let expected = match path.as_str() {
            "/health/live" | "/health/ready" => 200,
            // Open to everybody, and an empty body is no sign-in.
            "/api/v1/auth/login"
            | "/api/v1/auth/second-factor"
            | "/api/v1/auth/forgot"
            | "/api/v1/auth/password" => 422,
            // Whether there is an identity provider is told to everybody.
            "/api/v1/auth/provider" => 404,
            _ => 401,
        };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_document_says_what_it_takes_to_call_a_route() {
    for (method, path, operation) in operations() {
        let place = format!("{method} {path}");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| text.len() > 5),
            "{place}"
        );
        assert!(operation["tags"][0].is_string(), "{place}");
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for name in path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
        {
            let is_named = parameters
                .iter()
                .any(|parameter| parameter["name"] == name && parameter["in"] == "path");
            assert!(is_named, "{place} does not describe {name}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let app = TestApp::spawn().await;
    let document = Caller::stranger(&app)
        .get("/api/openapi.json")
        .await
        .expect(200);
    assert_eq!(document["info"]["title"], "Slipway");
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn an_unknown_route_is_a_problem_like_any_other() {
    let app = TestApp::spawn().await;
    let answer = Caller::stranger(&app).get("/api/v1/nothing").await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.code(), "not_found");
    answer.expect(404);
}

#[tokio::test]
async fn every_answer_carries_the_protective_headers() {
    let app = TestApp::spawn().await;
    for path in ["/health/live", "/api/v1/me", "/api/openapi.json"] {
        let answer = Caller::stranger(&app).get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}
