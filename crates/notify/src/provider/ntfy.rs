//! ntfy, its public server or one's own: plain text with a title, tags and a priority.
//!
//! Everything goes as JSON, because headers would need an encoding for what is not ASCII.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use slipway_core::{
    error::FieldError,
    notify::{Field, FieldKind, Parcel, Provider, Values, Verdict, event::Tone},
};

use super::{Wrong, address, bytes, field, optional, put, said};
use crate::{
    answer::{self, Quote},
    outgoing::{Outgoing, Request, Trouble},
    story::Story,
    text::{Form, Measure, as_it_is},
};

/// The service makes a file of a longer message, and takes twice as much JSON.
const MESSAGE_MAX_BYTES: usize = 4_000;
const DOCUMENT_MAX_BYTES: usize = 7_800;

const TITLE_MAX_BYTES: usize = 250;
const SENTENCE_MAX_BYTES: usize = 500;
const VALUE_MAX_BYTES: usize = 300;
const TOPIC_MAX: usize = 64;

const PROVIDER: [Field; 4] = [
    Field {
        kind: FieldKind::Url,
        ..field(
            "server",
            "Server",
            "Such as https://ntfy.sh, or a server of your own.",
        )
    },
    Field {
        secret: true,
        ..optional(
            "token",
            "Access token",
            "tk_..., for topics that are protected.",
        )
    },
    optional("username", "User", "Instead of a token."),
    Field {
        secret: true,
        ..optional("password", "Password", "The user's.")
    },
];

const CHANNEL: [Field; 1] = [field(
    "topic",
    "Topic",
    "Whoever knows a topic of the public server can read it, so choose one that nobody guesses.",
)];

const TEXT: Form = Form {
    escape: as_it_is,
    measure: Measure::Bytes,
};

/// Publishes to a topic.
#[derive(Debug)]
pub struct Ntfy {
    outgoing: Arc<Outgoing>,
}

impl Ntfy {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let url = address(&self.outgoing, parcel.provider, "server")?;
        let mut document = document(&Story::of(parcel.notice));
        put(&mut document, "topic", json!(parcel.channel.get("topic")));
        let mut request = Request::json(url, bytes(&document));
        if let Some(authorization) = authorization(parcel.provider) {
            request = request.header("authorization", &authorization)?;
        }
        let answer = self.outgoing.send(request).await?;
        let id = said(&answer.body, "/id").map(|id| format!("message {id}"));
        let told = id.or(said(&answer.body, "/error"));
        let quote = Quote::new(self, parcel);
        Ok(answer::told(&answer, &quote, told.as_deref(), None))
    }
}

fn authorization(values: &Values) -> Option<String> {
    if let Some(token) = values.get("token") {
        return Some(format!("Bearer {token}"));
    }
    let (user, password) = (values.get("username")?, values.get("password")?);
    let both = STANDARD.encode(format!("{user}:{password}"));
    Some(format!("Basic {both}"))
}

/// What is published, but for the topic, with as much of the log as there is room for.
pub(super) fn document(story: &Story) -> Value {
    let mut room = MESSAGE_MAX_BYTES;
    loop {
        let mut document = json!({
            "title": TEXT.cut(&story.title, TITLE_MAX_BYTES),
            "message": message(story, room),
            "tags": [tag(story.tone)],
            "priority": priority(story.tone),
        });
        if let Some(link) = &story.link {
            put(&mut document, "click", json!(link.url));
        }
        if room == 0 || bytes(&document).len() <= DOCUMENT_MAX_BYTES {
            return document;
        }
        room /= 2;
    }
}

fn message(story: &Story, most: usize) -> String {
    let sentences = story.sentences.iter();
    let mut parts: Vec<_> = sentences
        .map(|text| TEXT.cut(text, SENTENCE_MAX_BYTES))
        .collect();
    parts.extend(story.facts.iter().map(|fact| {
        let value = TEXT.cut(&fact.value, VALUE_MAX_BYTES);
        format!("{}: {value}", fact.label)
    }));
    if let Some(log) = &story.log {
        parts.push(format!("\n{}:", TEXT.cut(&log.caption, VALUE_MAX_BYTES)));
        let used: usize = parts.iter().map(|part| part.len() + 1).sum();
        parts.push(TEXT.log(&log.lines, most.saturating_sub(used)));
    }
    TEXT.cut(&parts.join("\n"), most)
}

/// The name of a picture that is shown before the title.
fn tag(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "white_check_mark",
        Tone::Bad => "x",
        Tone::Warning => "warning",
        Tone::Neutral => "information_source",
    }
}

fn priority(tone: Tone) -> u8 {
    match tone {
        Tone::Bad => 4,
        Tone::Good | Tone::Warning => 3,
        Tone::Neutral => 2,
    }
}

#[async_trait]
impl Provider for Ntfy {
    fn kind(&self) -> &'static str {
        "ntfy"
    }

    fn label(&self) -> &'static str {
        "ntfy"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &CHANNEL
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        wrong.unless_address(&self.outgoing, (values, "server"), |url| {
            let is_bare = url.path() == "/" && url.query().is_none();
            is_bare
                .then_some(())
                .ok_or("must be the server alone; the topic is the channel's")
        });
        let has_token = values.get("token").is_some();
        match (values.get("username"), values.get("password")) {
            (Some(_), _) | (_, Some(_)) if has_token => {
                wrong.add(
                    "token",
                    "stands beside a user or password; keep one of the two",
                );
            }
            (Some(_), None) => wrong.add("password", "is needed with a user"),
            (None, Some(_)) => wrong.add("username", "is needed with a password"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        wrong.result()
    }

    fn check_channel(&self, _provider: &Values, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        let topic = values.get("topic").unwrap_or_default();
        let known = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if topic.len() > TOPIC_MAX || !topic.chars().all(known) {
            wrong.add("topic", "must be up to 64 letters, digits, _ and -");
        }
        wrong.result()
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
