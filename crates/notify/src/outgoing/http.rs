//! One request over HTTP to a judged address, and a bounded part of the answer.

use std::{error::Error as _, io, time::Duration};

use reqwest::{
    Client, Method,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use url::Url;

use super::{CONNECT_TIMEOUT, Outgoing, TOTAL_TIMEOUT, Trouble};
use crate::answer;

/// Most of an answer that is read.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

/// Something to send.
#[derive(Debug)]
pub(crate) struct Request {
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// How long we are asked to wait, from the header.
    pub(crate) retry_after: Option<Duration>,
    /// The beginning of the body.
    pub(crate) body: String,
}

impl Request {
    /// A POST with a body of JSON.
    pub(crate) fn json(url: Url, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { url, headers, body }
    }

    /// Adds a header whose value nobody's log shows.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Result<Self, Trouble> {
        let wrong = |_| Trouble::Refused(format!("not sent: the value for {name} cannot be sent"));
        let mut value = HeaderValue::from_str(value).map_err(wrong)?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }
}

impl Outgoing {
    /// Sends a request, once, to where it may go.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Trouble> {
        let refused = |why: String| Trouble::Refused(format!("not sent: the address {why}"));
        let url = self.url(request.url.as_str()).map_err(refused)?;
        let origin = url.origin().ascii_serialization();
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(refused("names no host".to_owned()));
        };
        let place = self.place(&host.to_owned(), port).await?;
        let client = Client::builder()
            .tls_backend_preconfigured(self.roots.config.clone())
            .dns_resolver(Nobody)
            .resolve_to_addrs(&place.host, &place.addresses)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(&origin, &error))?;
        let sent = client
            .request(Method::POST, url)
            .headers(request.headers)
            .body(request.body)
            .send();
        let mut response = sent.await.map_err(|error| failed(&origin, &error))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| answer::retry_after(value.to_str().ok()?));
        let mut body = Vec::new();
        while body.len() < ANSWER_MAX_BYTES {
            // The status has come, so the service has decided; what is said besides may be cut off.
            let Ok(Some(chunk)) = response.chunk().await else {
                break;
            };
            let room = ANSWER_MAX_BYTES - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
        Ok(Answer {
            status,
            retry_after,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// Knows no name: what a connection needs was resolved and judged before.
#[derive(Debug)]
struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, _name: Name) -> Resolving {
        let unknown = || io::Error::other("the name was not judged");
        Box::pin(async move { Err::<Addrs, _>(unknown().into()) })
    }
}

/// Says what went wrong without the address: its path and query may be credentials.
fn failed(origin: &str, error: &reqwest::Error) -> Trouble {
    let what = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        cause(error)
    };
    let stage = if error.is_connect() {
        "no connection to"
    } else {
        "the request failed at"
    };
    Trouble::Later(format!("{stage} {origin}: {what}"))
}

/// The innermost cause, which never names an address: that is only on the outermost error.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(
        || "it cannot be sent like this".to_owned(),
        |cause| answer::line(&cause.to_string(), 200),
    )
}
