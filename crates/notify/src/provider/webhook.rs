//! A receiver of one's own: a signed document, as the Standard Webhooks specification wants it.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{SecondsFormat, Utc};
use ring::hmac;
use serde_json::json;
use slipway_core::{
    error::FieldError,
    notify::{Field, FieldKind, Parcel, Provider, Values, Verdict},
};

use crate::{
    answer::{self, Quote},
    outgoing::{Outgoing, Request, Trouble},
};

/// Of the document; it grows when a receiver has to read it differently.
const SCHEMA: u32 = 1;

const SECRET_PREFIX: &str = "whsec_";
const SECRET_MIN_BYTES: usize = 16;

const PROVIDER: [Field; 2] = [
    Field {
        name: "url",
        label: "Address",
        help: "Where the document is posted. It is kept secret, since it may hold a token.",
        required: true,
        secret: true,
        kind: FieldKind::Url,
    },
    Field {
        name: "secret",
        label: "Signing secret",
        help: "The receiver checks signatures with it: 16 characters or more, or whsec_ and base64.",
        required: true,
        secret: true,
        kind: FieldKind::Text,
    },
];

/// Posts to an address of one's own.
#[derive(Debug)]
pub struct Webhook {
    outgoing: Arc<Outgoing>,
}

impl Webhook {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let refused = |why: String| Trouble::Refused(format!("not sent: {why}"));
        let url = parcel.provider.get("url").unwrap_or_default();
        let url = self
            .outgoing
            .url(url)
            .map_err(|why| refused(format!("the address {why}")))?;
        let secret = parcel.provider.get("secret").unwrap_or_default();
        let key = signing_key(secret).map_err(|why| refused(format!("the secret {why}")))?;
        let body = document(parcel)?;
        let at = Utc::now().timestamp().to_string();
        let signature = signature(&key, parcel.key, &at, &body);
        let request = Request::json(url, body)
            .header("webhook-id", parcel.key)?
            .header("webhook-timestamp", &at)?
            .header("webhook-signature", &signature)?
            .header("idempotency-key", parcel.key)?;
        let answer = self.outgoing.send(request).await?;
        Ok(answer::verdict(&answer, &Quote::new(self, parcel), None))
    }
}

/// What is posted: the notice as it is stored, in an envelope.
fn document(parcel: &Parcel<'_>) -> Result<Vec<u8>, Trouble> {
    let notice = parcel.notice;
    let document = json!({
        "schema": SCHEMA,
        "id": parcel.key,
        "type": notice.event,
        "timestamp": notice.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "data": notice,
    });
    serde_json::to_vec(&document)
        .map_err(|_error| Trouble::Refused("not sent: the notice cannot be written".to_owned()))
}

/// The bytes that sign: the decoded ones of a secret in the specification's form, else the text's own.
fn signing_key(secret: &str) -> Result<Vec<u8>, String> {
    let key = match secret.strip_prefix(SECRET_PREFIX) {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|_error| format!("must be base64 after {SECRET_PREFIX}"))?,
        None => secret.as_bytes().to_vec(),
    };
    if key.len() < SECRET_MIN_BYTES {
        return Err(format!("must have at least {SECRET_MIN_BYTES} bytes"));
    }
    Ok(key)
}

fn signature(key: &[u8], id: &str, at: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[async_trait]
impl Provider for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn label(&self) -> &'static str {
        "Webhook"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &[]
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Vec::new();
        if let Some(Err(why)) = values.get("url").map(|url| self.outgoing.url(url)) {
            wrong.push(FieldError::new("url", why));
        }
        if let Some(Err(why)) = values.get("secret").map(signing_key) {
            wrong.push(FieldError::new("secret", why));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_channel(&self, _provider: &Values, _values: &Values) -> Result<(), Vec<FieldError>> {
        Ok(())
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
