//! One file for each service. None of them knows another one; what they share stands here.

mod discord;
#[cfg(test)]
mod hostile;
mod mattermost;
mod ntfy;
mod slack;
mod smtp;
mod teams;
mod telegram;
mod webhook;

use std::fmt::Display;

use serde_json::Value;
use slipway_core::{
    error::FieldError,
    notify::{Field, FieldKind, Values, event::Tone},
};
use url::Url;

use crate::outgoing::{Outgoing, Trouble};

pub use discord::Discord;
pub use mattermost::Mattermost;
pub use ntfy::Ntfy;
pub use slack::Slack;
pub use smtp::Smtp;
pub use teams::Teams;
pub use telegram::Telegram;
pub use webhook::Webhook;

/// A field that must be there and is shown.
const fn field(name: &'static str, label: &'static str, help: &'static str) -> Field {
    Field {
        name,
        label,
        help,
        required: true,
        secret: false,
        kind: FieldKind::Text,
    }
}

/// A field that may be empty and is shown.
const fn optional(name: &'static str, label: &'static str, help: &'static str) -> Field {
    Field {
        required: false,
        ..field(name, label, help)
    }
}

/// An address that is as good as a password.
const fn secret_url(name: &'static str, label: &'static str, help: &'static str) -> Field {
    Field {
        secret: true,
        kind: FieldKind::Url,
        ..field(name, label, help)
    }
}

fn refused(why: impl Display) -> Trouble {
    Trouble::Refused(format!("not sent: {why}"))
}

/// The address in a field, if messages may go there.
fn address(outgoing: &Outgoing, values: &Values, name: &str) -> Result<Url, Trouble> {
    let url = outgoing.url(values.get(name).unwrap_or_default());
    url.map_err(|why| refused(format!("the address {why}")))
}

/// What is wrong with values, gathered.
#[derive(Debug, Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn add(&mut self, field: &str, why: impl Into<String>) {
        self.0.push(FieldError::new(field, why));
    }

    /// Checks the address in a field, and that it looks as the service's own do.
    fn unless_address(
        &mut self,
        outgoing: &Outgoing,
        (values, name): (&Values, &str),
        rule: impl FnOnce(&Url) -> Result<(), &'static str>,
    ) {
        let Some(text) = values.get(name) else {
            return;
        };
        match outgoing.url(text) {
            Err(why) => self.add(name, why),
            Ok(url) => {
                if let Err(why) = rule(&url) {
                    self.add(name, why);
                }
            }
        }
    }

    fn result(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.0)
        }
    }
}

/// A document in bytes; a value of JSON can always be written.
fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// Puts something into a document under a name.
fn put(document: &mut Value, name: &str, value: Value) {
    if let Some(entries) = document.as_object_mut() {
        entries.insert(name.to_owned(), value);
    }
}

/// The text at a place in an answer, if it is JSON and has one there.
fn said(body: &str, place: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    match body.pointer(place)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The colour of a tone, 0xRRGGBB.
fn colour(tone: Tone) -> u32 {
    match tone {
        Tone::Good => 0x2e_7d32,
        Tone::Bad => 0xc6_2828,
        Tone::Warning => 0xef_6c00,
        Tone::Neutral => 0x15_65c0,
    }
}

/// The same as `#rrggbb`.
fn hex_colour(tone: Tone) -> String {
    format!("#{:06x}", colour(tone))
}

/// Inside code nothing is special but what ends it.
fn code(c: char, out: &mut String) {
    out.push(if c == '`' { 'ˋ' } else { c });
}
