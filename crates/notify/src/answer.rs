//! What an answer means, and how much of it people are shown.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use slipway_core::notify::{Parcel, Provider, Verdict};
use slipway_redact::{MASK, Matcher, redacted};

use crate::outgoing::Answer;

/// Most characters of an answer that are quoted.
const QUOTED_MAX: usize = 300;

/// A service that asks for more patience than this is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Values shorter than this are no credentials, and masking them would make answers unreadable.
const MASKED_MIN_CHARACTERS: usize = 6;

/// What is asked for in a `Retry-After`: seconds or a date, within reason.
#[must_use]
pub fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return patience(seconds);
    }
    let then = DateTime::parse_from_rfc2822(value).ok()?;
    let left = then.with_timezone(&Utc) - Utc::now();
    Some(left.to_std().unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// So many seconds, within reason.
#[must_use]
pub fn patience(seconds: f64) -> Option<Duration> {
    let asked = Duration::try_from_secs_f64(seconds).ok();
    let endless = seconds > 0.0;
    let asked = asked.or_else(|| endless.then_some(RETRY_AFTER_MAX))?;
    Some(asked.min(RETRY_AFTER_MAX))
}

/// What a status means, with the beginning of the body for people.
pub(crate) fn verdict(answer: &Answer, quote: &Quote, after: Option<Duration>) -> Verdict {
    told(answer, quote, None, after)
}

/// What a status means: taken, later, or never like this. What the service said is taken from
/// `said`, or is the body itself.
pub(crate) fn told(
    answer: &Answer,
    quote: &Quote,
    said: Option<&str>,
    after: Option<Duration>,
) -> Verdict {
    // A web page is for browsers; its status says more to people.
    let is_page = answer.body.trim_start().starts_with('<');
    let body = if is_page { "" } else { answer.body.as_str() };
    let said = quote.of(said.unwrap_or(body));
    let said = match (said.is_empty(), reason(answer.status)) {
        (true, "") => answer.status.to_string(),
        (true, reason) => format!("{} {reason}", answer.status),
        (false, _) => format!("{}: {said}", answer.status),
    };
    match answer.status {
        200..=299 => Verdict::Delivered { answer: said },
        300..=399 => Verdict::Refused {
            answer: format!("{} redirect, which is not followed", answer.status),
        },
        408 | 425 | 429 | 500..=599 => Verdict::Later {
            answer: said,
            after: after.or(answer.retry_after),
        },
        _ => Verdict::Refused { answer: said },
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// Quotes what services say, without the credentials that they may repeat.
#[derive(Debug)]
pub(crate) struct Quote(Option<Arc<Matcher>>);

impl Quote {
    /// Knows every secret of a parcel, and the parts of secret addresses.
    pub(crate) fn new(provider: &dyn Provider, parcel: &Parcel<'_>) -> Self {
        let of_provider = provider
            .provider_fields()
            .iter()
            .map(|f| (f, parcel.provider));
        let of_channel = provider
            .channel_fields()
            .iter()
            .map(|f| (f, parcel.channel));
        let secret = of_provider
            .chain(of_channel)
            .filter(|(field, _)| field.secret)
            .filter_map(|(field, values)| values.get(field.name));
        Self::knowing(secret.flat_map(parts))
    }

    fn knowing<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let long = values.filter(|value| value.chars().count() >= MASKED_MIN_CHARACTERS);
        Self(Matcher::new(long.map(str::as_bytes)).ok().map(Arc::new))
    }

    /// The beginning of a text as one line.
    pub(crate) fn of(&self, text: &str) -> String {
        match &self.0 {
            None => MASK.to_owned(),
            Some(matcher) => match redacted([matcher], text.as_bytes()) {
                Some(masked) => line(&String::from_utf8_lossy(&masked), QUOTED_MAX),
                None => line(text, QUOTED_MAX),
            },
        }
    }
}

/// A value, and what of an address is as secret as the whole.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let path = value
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    std::iter::once(value).chain(path.split(['/', '?', '&', '=', '#']))
}

/// A text as one line without control characters, cut.
pub(crate) fn line(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let joined = words.filter(|word| !word.is_empty());
    let line = joined.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default().trim_end()),
        None => line,
    }
}
