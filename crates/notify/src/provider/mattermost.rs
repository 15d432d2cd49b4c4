//! Mattermost, by an incoming webhook: one attachment in Markdown.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_core::{
    error::FieldError,
    notify::{Field, Parcel, Provider, Values, Verdict},
};

use super::{Wrong, address, bytes, hex_colour, optional, put, said, secret_url};
use crate::{
    answer::{self, Quote},
    outgoing::{Outgoing, Request, Trouble},
    story::{Fact, Story},
    text::{Form, Measure},
};

/// The service's limit is 16383 characters; the sum of all parts stays below.
const TITLE_MAX: usize = 500;
const TEXT_MAX: usize = 1_200;
const LOG_MAX: usize = 6_000;

const PROVIDER: [Field; 1] = [secret_url(
    "webhook_url",
    "Webhook URL",
    "Of an incoming webhook: https://mattermost.example.com/hooks/...",
)];

const CHANNEL: [Field; 1] = [optional(
    "channel",
    "Channel",
    "The name in a channel's address, or @ and a user name. Empty: the webhook's own channel.",
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
pub struct Mattermost {
    outgoing: Arc<Outgoing>,
}

impl Mattermost {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let url = address(&self.outgoing, parcel.provider, "webhook_url")?;
        let mut document = document(&Story::of(parcel.notice));
        if let Some(channel) = parcel.channel.get("channel") {
            put(&mut document, "channel", json!(channel));
        }
        let answer = self
            .outgoing
            .send(Request::json(url, bytes(&document)))
            .await?;
        let error = said(&answer.body, "/message");
        let quote = Quote::new(self, parcel);
        Ok(answer::told(&answer, &quote, error.as_deref(), None))
    }
}

/// What is posted, but for the channel.
pub(super) fn document(story: &Story) -> Value {
    let title = TEXT.cut(&format!("{} {}", story.symbol, story.title), TITLE_MAX);
    let sentences = story.sentences.iter();
    let sentences: Vec<_> = sentences.map(|text| TEXT.cut(text, TEXT_MAX)).collect();
    let mut text = sentences.join("\n\n");
    if let Some(log) = &story.log {
        let caption = TEXT.cut(&log.caption, TEXT_MAX);
        let lines = CODE.log(&log.lines, LOG_MAX);
        text = format!("{text}\n\n**{caption}**\n```text\n{lines}\n```");
    }
    if let Some(link) = &story.link {
        text = format!("{text}\n\n[{}]({})", link.label, link.url);
    }
    let fields: Vec<_> = story.facts.iter().map(field).collect();
    let mut attachment = json!({
        "fallback": title,
        "color": hex_colour(story.tone),
        "title": title,
        "text": text.trim_start(),
        "fields": fields,
        "footer": format!("Slipway, {}", story.moment()),
    });
    if let Some(link) = &story.link {
        put(&mut attachment, "title_link", json!(link.url));
    }
    json!({ "attachments": [attachment] })
}

fn field(fact: &Fact) -> Value {
    let value = if fact.is_code {
        format!("`{}`", CODE.cut(&fact.value, TEXT_MAX))
    } else {
        TEXT.cut(&fact.value, TEXT_MAX)
    };
    json!({ "title": fact.label, "value": value, "short": fact.is_short })
}

/// Formatting gets a backslash; what addresses somebody is broken up, since no escape does that.
fn escape(c: char, out: &mut String) {
    match c {
        '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '-' | '!'
        | '>' | '~' | '|' => {
            out.push('\\');
            out.push(c);
        }
        '@' | '<' => {
            out.push(c);
            out.push('\u{200b}');
        }
        _ => out.push(c),
    }
}

/// In code too, `<!channel>` would be taken for what it is in Slack.
fn code(c: char, out: &mut String) {
    if c == '!' && out.ends_with('<') {
        out.push('\u{200b}');
    }
    super::code(c, out);
}

#[async_trait]
impl Provider for Mattermost {
    fn kind(&self) -> &'static str {
        "mattermost"
    }

    fn label(&self) -> &'static str {
        "Mattermost"
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
            let is_hook = url.path().contains("/hooks/");
            is_hook
                .then_some(())
                .ok_or("is no incoming webhook: they have /hooks/ in them")
        });
        wrong.result()
    }

    fn check_channel(&self, _provider: &Values, _values: &Values) -> Result<(), Vec<FieldError>> {
        Ok(())
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
