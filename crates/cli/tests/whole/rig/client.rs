//! A client of the API, signed in with a session cookie as a browser is.

use std::{path::Path, sync::Once, time::Duration};

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use slipway_testkit::{eventually, variable};

use super::{DEADLINE, Events};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody who uses the API. Cloning it shares its connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: String,
    cookie: String,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Stops the test unless this is the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Client {
    /// A client that is not signed in.
    pub(crate) fn new(address: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let provider = rustls::crypto::ring::default_provider();
            provider
                .install_default()
                .expect("nobody else installs one");
        });
        Self {
            // A proxy of the machine's has no business between a test and loopback.
            // A connection that the server is about to give up, after five seconds, is not used.
            http: reqwest::Client::builder()
                .no_proxy()
                .pool_idle_timeout(Duration::from_secs(2))
                .build()
                .unwrap(),
            address: address.to_owned(),
            cookie: String::new(),
        }
    }

    /// Signs in.
    pub(crate) async fn sign_in(mut self, email: &str, password: &str) -> Self {
        let body = json!({"email": email, "password": password});
        let answer = self.post("/api/v1/auth/login", &body).await.expect(200);
        let cookie = answer.header("set-cookie").expect("a session cookie");
        self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        self
    }

    /// The same session at another API process.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self {
            address: address.to_owned(),
            ..self.clone()
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = format!("{}{path}", self.address);
        self.http
            .request(method, address)
            .header("Cookie", &self.cookie)
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        Self::attempt(request).await.expect("an answer")
    }

    /// The answer, if one came.
    async fn attempt(request: RequestBuilder) -> Option<Answer> {
        let answer = request.timeout(REQUEST_TIMEOUT).send().await.ok()?;
        Some(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.ok()?,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// Makes a project that does not need a repository.
    pub(crate) async fn create_project(&self, slug: &str, pipeline: &str) {
        let body = json!({ "slug": slug });
        self.post("/api/v1/projects", &body).await.expect(201);
        self.set_pipeline(slug, pipeline).await;
        // `deploy/canary.sh` looks for it afterwards.
        if let Some(value) = variable("SLIPWAY_TEST_CANARY") {
            let path = format!("/api/v1/projects/{slug}/secrets/CANARY");
            self.put(&path, &json!({ "value": value }))
                .await
                .expect(204);
        }
    }

    pub(crate) async fn set_pipeline(&self, project: &str, pipeline: &str) {
        let path = format!("/api/v1/projects/{project}/pipeline");
        self.put(&path, &json!({ "source": pipeline }))
            .await
            .expect(200);
    }

    /// Makes a target on the workers' own machine.
    pub(crate) async fn create_target(&self, project: &str, slug: &str, folder: &Path) {
        let body = json!({"slug": slug, "kind": "local", "path": folder});
        let path = format!("/api/v1/projects/{project}/targets");
        self.post(&path, &body).await.expect(201);
    }

    /// Asks for a deployment, whatever the answer.
    pub(crate) async fn request_deployment(&self, project: &str, target: &str) -> Answer {
        let path = format!("/api/v1/projects/{project}/deployments");
        self.post(&path, &json!({ "target": target })).await
    }

    /// The same, with a key by which the request is recognised when it comes again.
    pub(crate) async fn request_deployment_once(
        &self,
        project: &str,
        target: &str,
        key: &str,
    ) -> Answer {
        let path = format!("/api/v1/projects/{project}/deployments");
        let request = self
            .request(Method::POST, &path)
            .header("Idempotency-Key", key);
        self.send(request.json(&json!({ "target": target }))).await
    }

    /// The same at a process that may end before it answers.
    pub(crate) async fn try_deployment_once(
        &self,
        project: &str,
        target: &str,
        key: &str,
    ) -> Option<Answer> {
        let path = format!("/api/v1/projects/{project}/deployments");
        let request = self
            .request(Method::POST, &path)
            .header("Idempotency-Key", key);
        Self::attempt(request.json(&json!({ "target": target }))).await
    }

    /// Posts to a process that may end before it answers.
    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        Self::attempt(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for a deployment that is accepted.
    pub(crate) async fn deploy(&self, project: &str, target: &str) -> i64 {
        let answer = self.request_deployment(project, target).await.expect(202);
        answer.json()["id"].as_i64().unwrap()
    }

    pub(crate) async fn deployment(&self, id: i64) -> Value {
        let path = format!("/api/v1/deployments/{id}");
        self.get(&path).await.expect(200).json()
    }

    /// Waits until a deployment has this status.
    pub(crate) async fn until(&self, id: i64, status: &str) -> Value {
        eventually(DEADLINE, async || {
            let seen = self.deployment(id).await;
            if seen["status"] == status {
                Ok(seen)
            } else {
                Err(seen)
            }
        })
        .await
    }

    /// Waits until a deployment has ended, however.
    pub(crate) async fn ended(&self, id: i64) -> Value {
        eventually(DEADLINE, async || {
            let seen = self.deployment(id).await;
            if matches!(seen["status"].as_str(), Some("queued" | "running")) {
                Err(seen)
            } else {
                Ok(seen)
            }
        })
        .await
    }

    /// A whole log as a download.
    pub(crate) async fn log(&self, id: i64) -> String {
        self.get(&format!("/api/v1/deployments/{id}/log"))
            .await
            .expect(200)
            .text
    }

    /// Follows a deployment live, after this line.
    pub(crate) async fn events(&self, id: i64, after: i64) -> Events {
        let path = format!("/api/v1/deployments/{id}/events");
        let request = self.request(Method::GET, &path);
        let stream = request.header("Last-Event-ID", after).send().await.unwrap();
        assert_eq!(stream.status().as_u16(), 200);
        Events::new(stream)
    }
}
