//! A client of the JSON API, signed in with a token or not at all.

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use slipway_core::{
    access::SystemRole,
    account::service::tokens::{self, NewToken},
    db,
};

use crate::app::TestApp;

/// Somebody who calls the API.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Client,
    base: String,
    token: Option<String>,
}

/// What the API said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The problem's stable name.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The first field that was refused.
    pub(crate) fn field(&self) -> &str {
        self.body["errors"][0]["field"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body, if the status is as expected; the whole answer is told otherwise.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Caller {
    /// Nobody.
    pub(crate) fn stranger(app: &TestApp) -> Self {
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            http,
            base: app.origin.clone(),
            token: None,
        }
    }

    /// A user of this role, with a token of their own.
    pub(crate) async fn of_role(app: &TestApp, role: SystemRole) -> Self {
        let client = match role {
            SystemRole::Admin => app.admin().await,
            SystemRole::Manager | SystemRole::Developer | SystemRole::Viewer => {
                app.client_as(role).await
            }
        };
        let new = NewToken::unlimited("test".parse().unwrap());
        let made = tokens::create(&app.ctx, client.actor(), None, new, db::now());
        let (_, token) = made.await.unwrap();
        Self {
            token: Some(token.expose_secret().to_owned()),
            ..Self::stranger(app)
        }
    }

    pub(crate) async fn admin(app: &TestApp) -> Self {
        Self::of_role(app, SystemRole::Admin).await
    }

    /// The same client with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer {
            status,
            headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PUT", path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PATCH", path).json(&body)).await
    }

    /// A project `web` with target `live` and a pipeline of one step.
    pub(crate) async fn make_project(&self) {
        self.post("/api/v1/projects", json!({ "slug": "web" }))
            .await
            .expect(201);
        let target = json!({ "slug": "live", "kind": "local", "path": "/srv/slipway-test" });
        self.post("/api/v1/projects/web/targets", target)
            .await
            .expect(201);
        let source = json!({ "source": "after: [{ name: a, run: 'true' }]" });
        self.put("/api/v1/projects/web/pipeline", source)
            .await
            .expect(200);
    }

    /// A deployment of that project, which nobody runs.
    pub(crate) async fn deploy(&self) -> Answer {
        self.post(
            "/api/v1/projects/web/deployments",
            json!({ "target": "live" }),
        )
        .await
    }
}
