//! Slack, by an incoming webhook or as a bot: blocks in a coloured attachment.
//!
//! What strangers wrote stands in plain text, where nothing is formatted and nobody is mentioned;
//! only the log needs a fence.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_core::{
    error::FieldError,
    notify::{Field, Parcel, Provider, Values, Verdict},
};

use super::{Wrong, address, bytes, hex_colour, optional, put, refused, said, secret_url};
use crate::{
    answer::{self, Quote},
    outgoing::{Answer, Outgoing, Request, Trouble},
    story::{Fact, Story},
    text::{Form, Measure, as_it_is},
};

const API: &str = "https://slack.com";

/// The service's limits, and a little less where it counts differently.
const TEXT_MAX: usize = 3_000;
const FIELD_MAX: usize = 2_000;
const FACTS_IN_BLOCK: usize = 5;
const TITLE_MAX: usize = 1_000;

const PROVIDER: [Field; 2] = [
    Field {
        required: false,
        ..secret_url(
            "webhook_url",
            "Webhook URL",
            "Of an incoming webhook: https://hooks.slack.com/services/... Leave it empty for a bot.",
        )
    },
    Field {
        secret: true,
        ..optional(
            "bot_token",
            "Bot token",
            "xoxb-..., of an app with the scope chat:write that was invited to the channels.",
        )
    },
];

const CHANNEL: [Field; 1] = [optional(
    "channel",
    "Channel",
    "For a bot: the id of a channel such as C0123456789, or its name. A webhook has one already.",
)];

const PLAIN: Form = Form {
    escape: as_it_is,
    measure: Measure::Sent,
};
const ENTITIES: Form = Form {
    escape: entities,
    measure: Measure::Sent,
};
const FENCED: Form = Form {
    escape: fenced,
    measure: Measure::Sent,
};

/// What of the bot's errors passes.
const PASSING: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "request_timeout",
    "service_unavailable",
];

/// Posts to a channel.
#[derive(Debug)]
pub struct Slack {
    outgoing: Arc<Outgoing>,
    api: String,
}

impl Slack {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self::at(outgoing, API)
    }

    /// The same with the bot's interface somewhere else.
    #[must_use]
    pub fn at(outgoing: Arc<Outgoing>, api: impl Into<String>) -> Self {
        let api = api.into();
        Self { outgoing, api }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let mut document = document(&Story::of(parcel.notice));
        let quote = Quote::new(self, parcel);
        let Some(token) = parcel.provider.get("bot_token") else {
            let url = address(&self.outgoing, parcel.provider, "webhook_url")?;
            let request = Request::json(url, bytes(&document));
            let answer = self.outgoing.send(request).await?;
            return Ok(answer::verdict(&answer, &quote, None));
        };
        let channel = parcel.channel.get("channel");
        put(
            &mut document,
            "channel",
            json!(channel.ok_or_else(|| refused("no channel is named"))?),
        );
        let url = self
            .outgoing
            .url(&format!("{}/api/chat.postMessage", self.api));
        let request = Request::json(url.map_err(refused)?, bytes(&document))
            .header("authorization", &format!("Bearer {token}"))?;
        let answer = self.outgoing.send(request).await?;
        Ok(bot_verdict(&answer, &quote))
    }
}

/// The bot's interface answers 200 to what it does not do.
fn bot_verdict(answer: &Answer, quote: &Quote) -> Verdict {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let is_success = (200..300).contains(&answer.status);
    let Some(done) = body.get("ok").and_then(Value::as_bool) else {
        if is_success {
            let answer = format!("{}: not an answer of Slack", answer.status);
            return Verdict::Later {
                answer,
                after: None,
            };
        }
        return answer::verdict(answer, quote, None);
    };
    let error = said(&answer.body, "/error").unwrap_or_default();
    if done || !is_success {
        let said = if done { "ok" } else { error.as_str() };
        return answer::told(answer, quote, Some(said), None);
    }
    let told = quote.of(&error);
    if PASSING.contains(&error.as_str()) {
        return Verdict::Later {
            answer: told,
            after: answer.retry_after,
        };
    }
    Verdict::Refused { answer: told }
}

/// What is posted, but for the channel.
pub(super) fn document(story: &Story) -> Value {
    let title = format!("{} {}", story.symbol, story.title);
    let mut blocks = Vec::new();
    if !story.sentences.is_empty() {
        let text = PLAIN.cut(&story.sentences.join("\n"), TEXT_MAX);
        blocks.push(json!({ "type": "section", "text": plain(&text) }));
    }
    for facts in story.facts.chunks(FACTS_IN_BLOCK) {
        let fields: Vec<_> = facts.iter().flat_map(fields).collect();
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    if let Some(log) = &story.log {
        let caption = PLAIN.cut(&log.caption, FIELD_MAX);
        blocks.push(json!({ "type": "context", "elements": [plain(&caption)] }));
        let lines = FENCED.log(&log.lines, TEXT_MAX - 10);
        let fence = marked(&format!("```\n{lines}\n```"));
        blocks.push(json!({ "type": "section", "text": fence }));
    }
    if let Some(link) = &story.link {
        let url = link.url.replace('&', "&amp;");
        let link = marked(&format!("<{url}|{}>", link.label));
        blocks.push(json!({ "type": "section", "text": link }));
    }
    let moment = plain(&format!("Slipway, {}", story.moment()));
    blocks.push(json!({ "type": "context", "elements": [moment] }));
    json!({
        "text": ENTITIES.cut(&title, TITLE_MAX),
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "attachments": [{ "color": hex_colour(story.tone), "blocks": blocks }],
    })
}

/// Name and value stand beside each other.
fn fields(fact: &Fact) -> [Value; 2] {
    let value = plain(&PLAIN.cut(&fact.value, FIELD_MAX));
    [marked(&format!("*{}*", fact.label)), value]
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

fn marked(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn entities(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(c),
    }
}

fn fenced(c: char, out: &mut String) {
    if c == '`' {
        out.push('ˋ');
    } else {
        entities(c, out);
    }
}

#[async_trait]
impl Provider for Slack {
    fn kind(&self) -> &'static str {
        "slack"
    }

    fn label(&self) -> &'static str {
        "Slack"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &CHANNEL
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        match (values.get("webhook_url"), values.get("bot_token")) {
            (None, None) => wrong.add("webhook_url", "a webhook URL or a bot token is needed"),
            (Some(_), Some(_)) => wrong.add("bot_token", "stands beside a webhook URL; keep one"),
            (Some(_), None) => {
                wrong.unless_address(&self.outgoing, (values, "webhook_url"), |_url| Ok(()));
            }
            (None, Some(token)) => {
                let is_token = token.starts_with("xox") && token.is_ascii();
                if !is_token || token.contains(char::is_whitespace) {
                    wrong.add(
                        "bot_token",
                        "is no token of Slack: a bot's begins with xoxb-",
                    );
                }
            }
        }
        wrong.result()
    }

    fn check_channel(&self, provider: &Values, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        let is_bot = provider.get("bot_token").is_some();
        match (is_bot, values.get("channel")) {
            (true, None) => wrong.add("channel", "is needed, since the provider is a bot"),
            (false, Some(_)) => {
                wrong.add(
                    "channel",
                    "cannot be chosen: the webhook has a channel already",
                );
            }
            (true, Some(_)) | (false, None) => {}
        }
        wrong.result()
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
