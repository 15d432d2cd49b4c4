//! Mail, over a server of one's choice: text and HTML, and nothing that an automatic answer goes to.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use lettre::{
    Message,
    message::{
        Mailbox, Mailboxes, MessageBuilder, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use slipway_core::{
    error::FieldError,
    notify::{Field, FieldKind, Parcel, Provider, Values, Verdict},
};

use super::{Wrong, field, hex_colour, optional, refused};
use crate::{
    outgoing::{MailServer, MailTls, Outgoing, Trouble},
    story::Story,
    text::{Form, Measure, as_it_is, html},
};

const TLS: [&str; 3] = ["starttls", "tls", "off"];
const NEVER: [&str; 2] = ["never", "allowed"];

/// Longer subjects are cut off by most programs.
const SUBJECT_MAX: usize = 200;
const TEXT_MAX: usize = 2_000;
const LOG_MAX: usize = 40_000;

const PROVIDER: [Field; 7] = [
    field(
        "host",
        "Mail server",
        "A host name such as smtp.example.com.",
    ),
    Field {
        kind: FieldKind::Number(1, 65_535),
        ..field("port", "Port", "587 for STARTTLS, 465 for TLS, mostly.")
    },
    Field {
        kind: FieldKind::Choice(&TLS),
        ..field(
            "tls",
            "Encryption",
            "starttls: after a greeting, and never without; tls: from the first byte on; off.",
        )
    },
    optional("username", "User", "If the server asks for one."),
    Field {
        secret: true,
        ..optional("password", "Password", "The user's.")
    },
    Field {
        kind: FieldKind::Choice(&NEVER),
        ..optional(
            "password_in_clear",
            "Password without encryption",
            "Whether the password may be sent although encryption is off; never, unless allowed.",
        )
    },
    field("from", "Sender", "Such as Slipway <slipway@example.com>."),
];

const CHANNEL: [Field; 1] = [Field {
    kind: FieldKind::Addresses,
    ..field(
        "recipients",
        "Recipients",
        "One or more addresses, with commas between them.",
    )
}];

const PLAIN: Form = Form {
    escape: as_it_is,
    measure: Measure::Sent,
};
const HTML: Form = Form {
    escape: html,
    measure: Measure::Sent,
};

/// Sends mail.
#[derive(Debug)]
pub struct Smtp {
    outgoing: Arc<Outgoing>,
}

impl Smtp {
    /// Over this way out.
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Verdict, Trouble> {
        let server = server(parcel.provider).map_err(refused)?;
        let message = message(parcel).map_err(refused)?;
        let answer = self.outgoing.mail(&server, &message).await?;
        Ok(Verdict::Delivered { answer })
    }
}

fn server(values: &Values) -> Result<MailServer, String> {
    let port = values.get("port").and_then(|port| port.parse().ok());
    let account = values.get("username").zip(values.get("password"));
    Ok(MailServer {
        host: values
            .get("host")
            .ok_or("no mail server is named")?
            .to_owned(),
        port: port.ok_or("the port is none")?,
        tls: match values.get("tls") {
            Some("off") => MailTls::Off,
            Some("tls") => MailTls::On,
            _ => MailTls::Starttls,
        },
        password_in_clear: values.get("password_in_clear") == Some("allowed"),
        account: account.map(|(name, password)| (name.to_owned(), password.to_owned())),
    })
}

fn message(parcel: &Parcel<'_>) -> Result<Message, String> {
    let story = Story::of(parcel.notice);
    let from = sender(parcel.provider.get("from").unwrap_or_default())?;
    let recipients = recipients(parcel.channel.get("recipients").unwrap_or_default())?;
    let id = message_id(parcel.key, from.email.domain());
    let subject = PLAIN.cut(&format!("{} {}", story.symbol, story.title), SUBJECT_MAX);
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let builder = Message::builder()
        .from(from)
        .subject(subject)
        .date(SystemTime::from(story.at))
        .message_id(Some(id))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
    let addressed = recipients.into_iter().fold(builder, MessageBuilder::to);
    let parts = MultiPart::alternative_plain_html(plain(&story), html_page(&story));
    let message = addressed.multipart(parts);
    message.map_err(|error| format!("the mail cannot be written: {error}"))
}

/// The same for every attempt, so that programs show a repeated mail once.
fn message_id(key: &str, domain: &str) -> String {
    let known = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let key: String = key.chars().filter(known).collect();
    format!("<slipway.{key}@{domain}>")
}

fn sender(text: &str) -> Result<Mailbox, String> {
    text.parse()
        .map_err(|error| format!("the sender is no mail address: {error}"))
}

fn recipients(text: &str) -> Result<Mailboxes, String> {
    let all: Result<Mailboxes, _> = text.parse();
    let all = all.map_err(|error| format!("the recipients are no mail addresses: {error}"))?;
    if all.iter().next().is_none() {
        return Err("nobody is addressed".to_owned());
    }
    Ok(all)
}

pub(super) fn plain(story: &Story) -> String {
    let mut text = format!("{}\n\n", PLAIN.cut(&story.title, TEXT_MAX));
    for sentence in &story.sentences {
        text.push_str(&format!("{sentence}\n\n"));
    }
    for fact in &story.facts {
        text.push_str(&format!("{}: {}\n", fact.label, fact.value));
    }
    if let Some(log) = &story.log {
        let lines = PLAIN.log(&log.lines, LOG_MAX);
        text.push_str(&format!("\n{}:\n\n", log.caption));
        lines
            .lines()
            .for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    if let Some(link) = &story.link {
        text.push_str(&format!("\n{}: {}\n", link.label, link.url));
    }
    text.push_str(&format!("\n-- \nSlipway, {}\n", story.moment()));
    text
}

pub(super) fn html_page(story: &Story) -> String {
    const CELL: &str = "padding:2px 16px 2px 0;vertical-align:top;text-align:left";
    let escaped = |text: &str| HTML.cut(text, TEXT_MAX);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif;color:#1b1f24\">\n\
         <h2 style=\"margin:0 0 12px;padding:8px 12px;color:#fff;background:{colour}\">{title}</h2>\n",
        title = escaped(&format!("{} {}", story.symbol, story.title)),
        colour = hex_colour(story.tone),
    );
    for sentence in &story.sentences {
        page.push_str(&format!("<p>{}</p>\n", escaped(sentence)));
    }
    if !story.facts.is_empty() {
        page.push_str("<table style=\"border-collapse:collapse\">\n");
        for fact in &story.facts {
            let (tag, value) = (
                if fact.is_code { "code" } else { "span" },
                escaped(&fact.value),
            );
            page.push_str(&format!(
                "<tr><th style=\"{CELL}\">{}</th><td style=\"{CELL}\"><{tag}>{value}</{tag}></td></tr>\n",
                fact.label
            ));
        }
        page.push_str("</table>\n");
    }
    if let Some(log) = &story.log {
        let lines = HTML.log(&log.lines, LOG_MAX);
        page.push_str(&format!(
            "<p><b>{}</b></p>\n<pre style=\"padding:8px 12px;background:#f2f4f7;overflow:auto\">{lines}</pre>\n",
            escaped(&log.caption)
        ));
    }
    if let Some(link) = &story.link {
        page.push_str(&format!(
            "<p><a href=\"{}\">{}</a></p>\n",
            HTML.cut(&link.url, usize::MAX),
            escaped(&link.label)
        ));
    }
    let moment = escaped(&story.moment());
    page.push_str(&format!(
        "<p style=\"color:#667085\">Slipway, {moment}</p>\n</body></html>\n"
    ));
    page
}

#[async_trait]
impl Provider for Smtp {
    fn kind(&self) -> &'static str {
        "smtp"
    }

    fn label(&self) -> &'static str {
        "Mail (SMTP)"
    }

    fn provider_fields(&self) -> &'static [Field] {
        &PROVIDER
    }

    fn channel_fields(&self) -> &'static [Field] {
        &CHANNEL
    }

    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        let port = values.get("port").and_then(|port| port.parse().ok());
        if let Some((host, port)) = values.get("host").zip(port)
            && let Err(why) = self.outgoing.host(host, port)
        {
            wrong.add("host", why);
        }
        if let Some(Err(why)) = values.get("from").map(sender) {
            wrong.add("from", why);
        }
        let is_plain = values.get("tls") == Some("off");
        let in_clear = values.get("password_in_clear") == Some("allowed");
        match (values.get("username"), values.get("password")) {
            (Some(_), None) => wrong.add("password", "is needed with a user"),
            (None, Some(_)) => wrong.add("username", "is needed with a password"),
            (Some(_), Some(_)) if is_plain && !in_clear => wrong.add(
                "password_in_clear",
                "must be allowed for a password without encryption; better use starttls or tls",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
        wrong.result()
    }

    fn check_channel(&self, _provider: &Values, values: &Values) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong::default();
        if let Some(Err(why)) = values.get("recipients").map(recipients) {
            wrong.add("recipients", why);
        }
        wrong.result()
    }

    async fn send(&self, parcel: Parcel<'_>) -> Verdict {
        self.deliver(&parcel).await.unwrap_or_else(Verdict::from)
    }
}
