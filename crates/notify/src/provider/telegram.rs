//! Telegram, as a bot: one message in its HTML.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use slipway_core::{
    error::FieldError,
    notify::{Field, FieldKind, Parcel, Provider, Values, Verdict},
};

use super::{Wrong, bytes, field, optional, put, refused, said};
use crate::{
    answer::{self, Quote},
    outgoing::{Outgoing, Request, Trouble},
    story::{Fact, Story},
    text::{Form, Measure, html},
};

const API: &str = "https://api.telegram.org";

/// The service's limit, of what people see.
const MESSAGE_MAX: usize = 4_096;

const TITLE_MAX: usize = 300;
const SENTENCE_MAX: usize = 400;
const VALUE_MAX: usize = 250;

const PROVIDER: [Field; 2] = [
    Field {
        secret: true,
        ..field(
            "bot_token",
            "Bot token",
            "As @BotFather gave it: 123456789:AAF...",
        )
    },
    Field {
        kind: FieldKind::Url,
        ..optional(
            "api_url",
            "Bot API server",
            "Only for a Bot API server of your own; empty for https://api.telegram.org.",
        )
    },
];

const CHANNEL: [Field; 2] = [
    field(
        "chat_id",
        "Chat",
        "A number such as -1001234567890, or @ and a public channel's name. The bot must be in it.",
    ),
    optional(
        "topic_id",
        "Topic",
        "The number of a topic, for groups that have topics.",
    ),
];

const TEXT: Form = Form {
    escape,
    measure: Measure::Seen,
};

/// Sends to a chat.
#[derive(Debug)]
pub struct Telegram {
    outgoing: Arc<Outgoing>,
}

impl Telegram {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let api = parcel.provider.get("api_url").unwrap_or(API);
        let token = parcel.provider.get("bot_token").unwrap_or_default();
        if !is_token(token) {
            return Err(refused("the bot token is none"));
        }
        let url = format!("{}/bot{token}/sendMessage", api.trim_end_matches('/'));
        let url = self.outgoing.url(&url);
        let url = url.map_err(|why| refused(format!("the address {why}")))?;
        let mut document = json!({
            "chat_id": parcel.channel.get("chat_id"),
            "text": message(&Story::of(parcel.notice)),
            "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
        });
        let topic = parcel.channel.get("topic_id");
        if let Some(topic) = topic.and_then(|topic| topic.parse::<i64>().ok()) {
            put(&mut document, "message_thread_id", json!(topic));
        }
        let answer = self
            .outgoing
            .send(Request::json(url, bytes(&document)))
            .await?;
        let after = said(&answer.body, "/parameters/retry_after");
        let after = after.and_then(|seconds| answer::patience(seconds.parse().ok()?));
        let told = told(&answer.body);
        Ok(answer::told(
            &answer,
            &Quote::new(self, parcel),
            told.as_deref(),
            after,
        ))
    }
}

fn told(body: &str) -> Option<String> {
    let sent = said(body, "/result/message_id").map(|id| format!("message {id}"));
    let moved = said(body, "/parameters/migrate_to_chat_id");
    let error = said(body, "/description").map(|error| match moved {
        Some(chat) => format!("{error}; the chat is now {chat}"),
        None => error,
    });
    sent.or(error)
}

/// The message's text, with as much of the log as there is room for.
pub(super) fn message(story: &Story) -> String {
    let title = TEXT.cut(&format!("{} {}", story.symbol, story.title), TITLE_MAX);
    let mut parts = vec![format!("<b>{title}</b>")];
    parts.extend(
        story
            .sentences
            .iter()
            .map(|text| TEXT.cut(text, SENTENCE_MAX)),
    );
    if !story.facts.is_empty() {
        parts.push(String::new());
    }
    parts.extend(story.facts.iter().map(fact));
    let end = story.link.as_ref().map(|link| {
        let url = link.url.replace('&', "&amp;");
        format!("\n<a href=\"{url}\">{}</a>", link.label)
    });
    if let Some(log) = &story.log {
        parts.push(format!("\n<b>{}</b>", TEXT.cut(&log.caption, VALUE_MAX)));
        // Tags and entities do not count, but counting them keeps this simple and on the safe side.
        let sent: usize = parts
            .iter()
            .chain(&end)
            .map(|part| Measure::Sent.of(part) + 1)
            .sum();
        let lines = TEXT.log(&log.lines, MESSAGE_MAX.saturating_sub(sent + 20));
        parts.push(format!("<pre>{lines}</pre>"));
    }
    parts.extend(end);
    parts.join("\n")
}

fn fact(fact: &Fact) -> String {
    let value = TEXT.cut(&fact.value, VALUE_MAX);
    if fact.is_code {
        format!("<b>{}:</b> <code>{value}</code>", fact.label)
    } else {
        format!("<b>{}:</b> {value}", fact.label)
    }
}

/// A name after an @ would be a mention.
fn escape(c: char, out: &mut String) {
    html(c, out);
    if c == '@' {
        out.push('\u{200b}');
    }
}

fn is_token(token: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    token.split_once(':').is_some_and(|(id, secret)| {
        let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_digit());
        is_id && secret.len() >= 20 && secret.chars().all(known)
    })
}

#[async_trait]
impl Provider for Telegram {
    fn kind(&self) -> &'static str {
        "telegram"
    }

    fn label(&self) -> &'static str {
        "Telegram"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &CHANNEL
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        if values
            .get("bot_token")
            .is_some_and(|token| !is_token(token))
        {
            wrong.add(
                "bot_token",
                "is no token of a bot: they look like 123456789:AAF...",
            );
        }
        wrong.unless_address(&self.outgoing, (values, "api_url"), |url| {
            let is_bare = url.query().is_none() && url.fragment().is_none();
            is_bare.then_some(()).ok_or("must not have a query")
        });
        wrong.result()
    }

    fn check_channel(&self, _provider: &Values, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        if let Some(chat) = values.get("chat_id") {
            let is_name = chat.strip_prefix('@').is_some_and(|name| !name.is_empty());
            if chat.parse::<i64>().is_err() && !is_name {
                wrong.add("chat_id", "must be a number, or @ and a name");
            }
        }
        let topic = values.get("topic_id").map(str::parse::<i64>);
        if !topic.is_none_or(|topic| topic.is_ok_and(|topic| topic > 0)) {
            wrong.add("topic_id", "must be a number");
        }
        wrong.result()
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
