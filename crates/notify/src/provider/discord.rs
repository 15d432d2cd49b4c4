//! Discord, by a channel's webhook: one embed that mentions nobody.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_core::{
    error::FieldError,
    notify::{Field, Parcel, Provider, Values, Verdict},
};

use super::{Wrong, address, bytes, code, colour, optional, put, said, secret_url};
use crate::{
    answer::{self, Quote},
    outgoing::{Answer, Outgoing, Request, Trouble},
    story::{Fact, Story},
    text::{Form, Measure},
};

/// The service's limits.
const TITLE_MAX: usize = 256;
const FIELDS_MAX: usize = 25;
const EMBED_MAX: usize = 6_000;

/// Of our own, so that the sum keeps to the service's.
const SENTENCE_MAX: usize = 500;
const VALUE_MAX: usize = 600;
const LOG_MAX: usize = 2_400;

const PROVIDER: [Field; 1] = [secret_url(
    "webhook_url",
    "Webhook URL",
    "In Discord: the channel's settings, Integrations, Webhooks, Copy Webhook URL.",
)];

const CHANNEL: [Field; 1] = [optional(
    "thread_id",
    "Thread",
    "The id of a thread in that channel; without one the message goes to the channel itself.",
)];

const TEXT: Form = Form {
    escape,
    measure: Measure::Sent,
};
const CODE: Form = Form {
    escape: code,
    measure: Measure::Sent,
};

/// Posts to a channel.
#[derive(Debug)]
pub struct Discord {
    outgoing: Arc<Outgoing>,
}

impl Discord {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let mut url = address(&self.outgoing, parcel.provider, "webhook_url")?;
        // The service then answers once the message stands, and with its errors.
        url.query_pairs_mut().append_pair("wait", "true");
        if let Some(thread) = parcel.channel.get("thread_id") {
            url.query_pairs_mut().append_pair("thread_id", thread);
        }
        let document = document(&Story::of(parcel.notice));
        let answer = self
            .outgoing
            .send(Request::json(url, bytes(&document)))
            .await?;
        Ok(verdict(&answer, &Quote::new(self, parcel)))
    }
}

fn verdict(answer: &Answer, quote: &Quote) -> Verdict {
    let id = said(&answer.body, "/id").map(|id| format!("message {id}"));
    let error = said(&answer.body, "/message");
    let after = said(&answer.body, "/retry_after");
    let after = after.and_then(|seconds| answer::patience(seconds.parse().ok()?));
    answer::told(answer, quote, id.or(error).as_deref(), after)
}

/// What is posted.
pub(super) fn document(story: &Story) -> Value {
    let mut embed = json!({
        "title": TEXT.cut(&format!("{} {}", story.symbol, story.title), TITLE_MAX),
        "color": colour(story.tone),
        "timestamp": story.at.to_rfc3339(),
        "footer": { "text": "Slipway" },
    });
    let fields = story.facts.iter().take(FIELDS_MAX).map(field);
    put(&mut embed, "fields", fields.collect());
    let sentences = story.sentences.iter();
    let sentences: Vec<_> = sentences.map(|text| TEXT.cut(text, SENTENCE_MAX)).collect();
    let mut description = sentences.join("\n");
    if let Some(link) = &story.link {
        // An address without a dot in its host is none for the service, which then refuses it all.
        if link.is_public() {
            put(&mut embed, "url", json!(link.url));
        } else {
            description = format!("{description}\n{}", TEXT.cut(&link.url, VALUE_MAX));
        }
    }
    if let Some(log) = &story.log {
        let caption = TEXT.cut(&log.caption, VALUE_MAX);
        let room = EMBED_MAX.saturating_sub(length(&embed) + Measure::Sent.of(&description) + 300);
        let lines = CODE.log(&log.lines, room.min(LOG_MAX));
        description = format!("{description}\n**{caption}**\n```\n{lines}\n```");
    }
    put(&mut embed, "description", json!(description.trim_start()));
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

fn field(fact: &Fact) -> Value {
    let value = if fact.is_code {
        format!("`{}`", CODE.cut(&fact.value, VALUE_MAX))
    } else {
        TEXT.cut(&fact.value, VALUE_MAX)
    };
    json!({ "name": fact.label, "value": value, "inline": fact.is_short })
}

/// What the service counts of an embed: titles, texts, names and values.
fn length(embed: &Value) -> usize {
    match embed {
        Value::String(text) => Measure::Sent.of(text),
        Value::Array(items) => items.iter().map(length).sum(),
        Value::Object(entries) => entries.values().map(length).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Formatting, mentions, emoji, time stamps and links lose what makes them.
fn escape(c: char, out: &mut String) {
    match c {
        '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '(' | ')' | '<' | ':' => {
            out.push('\\');
            out.push(c);
        }
        '#' | '-' | '>' | '+' if out.is_empty() => {
            out.push('\\');
            out.push(c);
        }
        '@' => out.push_str("@\u{200b}"),
        _ => out.push(c),
    }
}

#[async_trait]
impl Provider for Discord {
    fn kind(&self) -> &'static str {
        "discord"
    }

    fn label(&self) -> &'static str {
        "Discord"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &CHANNEL
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        wrong.unless_address(&self.outgoing, (values, "webhook_url"), |url| {
            let is_hook = url.path().starts_with("/api/webhooks/");
            is_hook.then_some(()).ok_or(
                "is no webhook of Discord: they look like https://discord.com/api/webhooks/...",
            )
        });
        wrong.result()
    }

    fn check_channel(&self, _provider: &Values, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        let thread = values.get("thread_id").unwrap_or_default();
        if !thread.chars().all(|c| c.is_ascii_digit()) {
            wrong.add("thread_id", "must be digits only");
        }
        wrong.result()
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
