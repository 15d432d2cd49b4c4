//! Microsoft Teams, by a workflow's URL: an Adaptive Card.
//!
//! Text runs know no Markdown, so what strangers wrote needs no escape there.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_core::{
    error::FieldError,
    notify::{Field, Parcel, Provider, Values, Verdict, event::Tone},
};

use super::{Wrong, address, bytes, put, said, secret_url};
use crate::{
    answer::{self, Quote},
    outgoing::{Outgoing, Request, Trouble},
    story::{Fact, Story},
    text::{Form, Measure},
};

/// The service's limit is 28 KB for everything.
const DOCUMENT_MAX_BYTES: usize = 27_000;

const TITLE_MAX: usize = 500;
const SENTENCE_MAX: usize = 600;
const LOG_MAX: usize = 12_000;

const PROVIDER: [Field; 1] = [secret_url(
    "webhook_url",
    "Workflow URL",
    "In Teams: the channel's menu, Workflows, Send webhook alerts to a channel.",
)];

const TEXT: Form = Form {
    escape,
    measure: Measure::Bytes,
};

/// Posts to a channel or chat.
#[derive(Debug)]
pub struct Teams {
    outgoing: Arc<Outgoing>,
}

impl Teams {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let url = address(&self.outgoing, parcel.provider, "webhook_url")?;
        let document = document(&Story::of(parcel.notice));
        let answer = self
            .outgoing
            .send(Request::json(url, bytes(&document)))
            .await?;
        let error = said(&answer.body, "/error/message");
        let quote = Quote::new(self, parcel);
        Ok(answer::told(&answer, &quote, error.as_deref(), None))
    }
}

/// What is posted, with as much of the log as there is room for.
pub(super) fn document(story: &Story) -> Value {
    let mut log = LOG_MAX;
    loop {
        let document = message(&card(story, log));
        if log == 0 || bytes(&document).len() <= DOCUMENT_MAX_BYTES {
            return document;
        }
        log /= 2;
    }
}

fn message(card: &Value) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    })
}

fn card(story: &Story, log_max: usize) -> Value {
    let title = TEXT.cut(&format!("{} {}", story.symbol, story.title), TITLE_MAX);
    let mut body = vec![json!({
        "type": "Container",
        "style": style(story.tone),
        "bleed": true,
        "items": [paragraph(&[run(&title, &json!({ "weight": "Bolder", "size": "Medium" }))])],
    })];
    let sentences = story.sentences.iter();
    body.extend(sentences.map(|text| paragraph(&[run(&TEXT.cut(text, SENTENCE_MAX), &json!({}))])));
    body.extend(story.facts.iter().map(fact));
    if let Some(log) = &story.log {
        let lines = TEXT.log(&log.lines, log_max);
        let caption = TEXT.cut(&log.caption, SENTENCE_MAX);
        body.push(paragraph(&[run(&caption, &json!({ "weight": "Bolder" }))]));
        let items: Vec<_> = lines.lines().map(log_line).collect();
        body.push(json!({ "type": "Container", "style": "emphasis", "items": items }));
    }
    let moment = format!("Slipway, {}", story.moment());
    body.push(paragraph(&[run(
        &moment,
        &json!({ "isSubtle": true, "size": "Small" }),
    )]));
    let open = story.link.iter();
    let open =
        open.map(|link| json!({ "type": "Action.OpenUrl", "title": link.label, "url": link.url }));
    json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": title,
        "msteams": { "width": "Full" },
        "body": body,
        "actions": open.collect::<Vec<_>>(),
    })
}

fn style(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "attention",
        Tone::Warning => "warning",
        Tone::Neutral => "accent",
    }
}

fn fact(fact: &Fact) -> Value {
    let look = if fact.is_code {
        json!({ "fontType": "Monospace" })
    } else {
        json!({})
    };
    let name = run(&format!("{}: ", fact.label), &json!({ "weight": "Bolder" }));
    let mut fact = paragraph(&[name, run(&TEXT.cut(&fact.value, SENTENCE_MAX), &look)]);
    put(&mut fact, "spacing", json!("Small"));
    fact
}

fn log_line(line: &str) -> Value {
    // A run without text is no run.
    let line = if line.is_empty() { " " } else { line };
    let mut line = paragraph(&[run(
        line,
        &json!({ "fontType": "Monospace", "size": "Small" }),
    )]);
    put(&mut line, "spacing", json!("None"));
    line
}

fn paragraph(inlines: &[Value]) -> Value {
    json!({ "type": "RichTextBlock", "inlines": inlines })
}

fn run(text: &str, look: &Value) -> Value {
    let mut run = json!({ "type": "TextRun", "text": text });
    for (name, value) in look.as_object().into_iter().flatten() {
        put(&mut run, name, value.clone());
    }
    run
}

/// Two braces begin a function of the card, and `<at>` a mention.
fn escape(c: char, out: &mut String) {
    if c == '{' && out.ends_with('{') || c == 'a' && out.ends_with('<') {
        out.push('\u{200b}');
    }
    out.push(c);
}

#[async_trait]
impl Provider for Teams {
    fn kind(&self) -> &'static str {
        "teams"
    }

    fn label(&self) -> &'static str {
        "Microsoft Teams"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &[]
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        wrong.unless_address(&self.outgoing, (values, "webhook_url"), |url| {
            let host = url.host_str().unwrap_or_default();
            let is_connector = host == "outlook.office.com"
                || host == "webhook.office.com"
                || host.ends_with(".webhook.office.com");
            (!is_connector).then_some(()).ok_or(
                "is an Office 365 connector, which Microsoft has retired; make a workflow \
                 \"Send webhook alerts to a channel\" in Teams and use its URL",
            )
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
