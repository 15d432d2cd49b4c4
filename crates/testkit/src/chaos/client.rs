//! A client of the API that expects trouble and asks again.

use std::{sync::Once, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{
    record::now_ns,
    site::{EMAIL, PASSWORD},
};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait before the same is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Deployments on one page of a list.
const PAGE: usize = 100;

/// Somebody who uses the API, at whichever process answers.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    addresses: Vec<String>,
    cookie: String,
}

/// An accepted request.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// Its Idempotency-Key.
    pub key: String,
    /// The deployment.
    pub id: i64,
    /// When it was first asked for.
    pub asked_ns: u64,
}

/// A deployment as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its id.
    pub id: i64,
    /// Its target's slug.
    pub target: String,
    /// Its status.
    pub status: String,
    /// Runs that were charged.
    pub attempt: i64,
    /// Runs that were lost with their worker.
    pub interruptions: i64,
    /// Why it ended, or the empty text.
    pub reason: String,
}

/// One answer: its status, its cookie and its body.
struct Answer {
    status: u16,
    cookie: Option<String>,
    body: Value,
}

impl Client {
    /// Signs in at the first of these addresses.
    ///
    /// # Errors
    /// When that is refused.
    pub(crate) async fn sign_in(addresses: Vec<String>) -> anyhow::Result<Self> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Somebody else's provider would do as well: nothing here speaks TLS.
            let _present = rustls::crypto::ring::default_provider().install_default();
        });
        let mut client = Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()?,
            addresses,
            cookie: String::new(),
        };
        let body = json!({"email": EMAIL, "password": PASSWORD});
        let answer = client
            .send("POST", 0, "auth/login", |it| it.json(&body))
            .await?;
        let cookie = answer.cookie.context("the first Admin cannot sign in")?;
        client.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(client)
    }

    async fn send(
        &self,
        method: &str,
        at: usize,
        path: &str,
        complete: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> anyhow::Result<Answer> {
        let address = self.addresses.get(at % self.addresses.len().max(1));
        let address = format!("{}/api/v1/{path}", address.context("no address")?);
        let request = self
            .http
            .request(method.parse()?, address)
            .header("Cookie", &self.cookie);
        let answer = complete(request).send().await?;
        let cookie = answer.headers().get("set-cookie");
        let cookie = cookie
            .and_then(|text| text.to_str().ok())
            .map(str::to_owned);
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer {
            status,
            cookie,
            body,
        })
    }

    /// Does something that has to work while nothing is wrong.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn set_up(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<()> {
        let answer = self.send(method, 0, path, |it| it.json(body)).await?;
        if !(200..300).contains(&answer.status) {
            bail!("{method} {path}: {} {}", answer.status, answer.body);
        }
        Ok(())
    }

    /// Asks once for a deployment, at one of the processes.
    ///
    /// # Errors
    /// When no answer came.
    pub(crate) async fn ask(
        &self,
        at: usize,
        target: &str,
        key: &str,
    ) -> anyhow::Result<(u16, Value)> {
        let body = json!({ "target": target });
        let path = "projects/chaos/deployments";
        let answer = self
            .send("POST", at, path, |it| {
                it.json(&body).header("Idempotency-Key", key)
            })
            .await?;
        Ok((answer.status, answer.body))
    }

    /// Asks for a deployment, with the same key at one process after the other, until one accepts.
    ///
    /// # Errors
    /// When a process says that the request itself is wrong.
    pub(crate) async fn deploy(&self, number: usize, target: &str) -> anyhow::Result<Accepted> {
        let key = format!("request-{number}");
        let asked_ns = now_ns();
        for attempt in number.. {
            match self.ask(attempt, target, &key).await {
                Ok((202, body)) => {
                    return Ok(Accepted {
                        id: body.get("id").and_then(Value::as_i64).context("no id")?,
                        key,
                        asked_ns,
                    });
                }
                // Away, overloaded or broken: whoever wants a deployment asks again.
                Ok((429 | 500.., _)) | Err(_) => {}
                Ok((status, body)) => bail!("{key}: {status} {body}"),
            }
            // pause: as a client that was told to try again later
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{key}: never accepted")
    }

    /// Every deployment, or those in one state, however long it takes until somebody answers.
    ///
    /// # Errors
    /// When the list makes no sense.
    pub(crate) async fn list(&self, status: Option<&str>) -> anyhow::Result<Vec<Seen>> {
        let filter = status.map(|it| format!("&status={it}")).unwrap_or_default();
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("deployments?limit={PAGE}{filter}{cursor}");
            let page = self.send("GET", 0, &path, |it| it).await?;
            anyhow::ensure!(page.status == 200, "{path}: {} {}", page.status, page.body);
            let items = page.body.get("items").and_then(Value::as_array);
            for item in items.context("a list without items")? {
                seen.push(Seen::read(item).with_context(|| format!("{item}"))?);
            }
            match page.body.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(seen),
            }
        }
    }
}

impl Seen {
    fn read(item: &Value) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| item.get(name).and_then(Value::as_i64);
        let target = item.get("target")?.get("slug")?.as_str()?;
        Some(Self {
            id: number("id")?,
            target: target.to_owned(),
            status: text("status")?,
            attempt: number("attempt")?,
            interruptions: number("interruptions")?,
            reason: text("reason").unwrap_or_default(),
        })
    }

    /// Whether it has ended, however.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "running")
    }
}
