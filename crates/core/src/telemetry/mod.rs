//! This process's own log: what is recorded, in which form, and that it is safe to keep.
//!
//! Every record is one line on standard error whatever its fields contain, and secrets are masked.
//! The output of deployment steps is not logged here and has its own, stricter redaction.

mod bridge;
mod fields;
mod line;
pub(crate) mod names;
mod redaction;

use std::{
    io::{self, Write as _},
    panic,
    sync::{Arc, OnceLock},
};

use slipway_redact::{Matcher, redacted};

use tracing::{Subscriber, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::ParseError, fmt, fmt::MakeWriter,
    layer::SubscriberExt as _,
};
use zeroize::Zeroizing;

pub use self::redaction::{Known, Redaction};
use self::{fields::Fields, line::Lines};
use crate::settings::{LogFormat, Logging, load::environment};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The setting cannot be used.
    #[error("`logging.level` {0}")]
    Level(#[from] LevelError),
    /// This process has a log already.
    #[error("logging has been started before")]
    Started(#[from] SetGlobalDefaultError),
}

/// Why a text is no filter, as the rest of a sentence that begins with its name.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// A part is neither a level nor `target=level`.
    #[error("has `{0}`, which is not one of {levels}", levels = LEVELS.join(", "))]
    Unknown(String),
    /// The filter is malformed in another way.
    #[error("is not a filter")]
    Filter(#[from] ParseError),
}

/// The redaction of this process's log, once it has one.
static OWN: OnceLock<Redaction> = OnceLock::new();

/// Starts this process's log on standard error, panics included, and what libraries say through
/// `log`.
///
/// # Errors
///
/// When the level is no filter, or the log has been started before.
pub fn start(logging: &Logging) -> Result<Redaction, TelemetryError> {
    let (subscriber, redaction) = subscriber(logging, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    bridge::start();
    let redaction = OWN.get_or_init(|| redaction).clone();
    // The standard message may have many lines and knows no redaction.
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(panic.location = place, "panicked: {message}");
    }));
    Ok(redaction)
}

/// Masks these values in this process's log for as long as the answer lives.
pub fn know(values: Arc<Matcher>) -> Known {
    OWN.get().map(|own| own.know(values)).unwrap_or_default()
}

/// Says why this process ends, to the person or the service manager that started it, with the values
/// masked that the log knows; there may be no log yet.
pub fn last_words(program: &str, error: &anyhow::Error) {
    let text = format!("{program}: {error:#}");
    let masked = match OWN.get() {
        Some(own) => own.without_known(&text).into_owned(),
        None => without_environment(text),
    };
    // A list of wrong settings has many lines, but none of them may look like anything else.
    let lines = masked
        .lines()
        .map(|line| line::escaped(line, LogFormat::Text) + "\n");
    let _nobody_there = io::stderr()
        .lock()
        .write_all(lines.collect::<String>().as_bytes());
}

/// A text without the secrets that this process was started with.
fn without_environment(text: String) -> String {
    let named = environment()
        .into_iter()
        .filter(|(name, _)| names::is_secret(name));
    let values: Vec<_> = named.map(|(_, value)| Zeroizing::new(value)).collect();
    match Matcher::new(values.iter().map(|value| value.as_bytes())) {
        Ok(matcher) => {
            let masked = redacted([&Arc::new(matcher)], text.as_bytes());
            masked.map_or(text, |masked| String::from_utf8_lossy(&masked).into_owned())
        }
        Err(error) => error.to_string(),
    }
}

/// The same log into any writer, for one thread or one test.
///
/// # Errors
///
/// When the level is no filter.
pub fn subscriber<W>(
    logging: &Logging,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Redaction), LevelError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(&logging.level)?;
    let redaction = Redaction::new(logging.redact_secrets);
    let lines = Lines::new(writer, logging.format, redaction.clone());
    let layer = fmt::layer().with_ansi(false);
    let layer = match logging.format {
        LogFormat::Text => layer
            .with_writer(lines)
            .fmt_fields(Fields::new(&redaction))
            .boxed(),
        LogFormat::Json => layer
            .with_writer(lines)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    };
    Ok((
        Registry::default().with(layer.with_filter(filter)),
        redaction,
    ))
}

/// What a plain level does not show of libraries that speak at each routine step.
const QUIET: &str = "sea_orm_migration=warn,actix_server=warn,";

/// The filter that a level stands for.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, LevelError> {
    // The parser takes any bare word for a target, so that a mistyped level would switch all off.
    let bare = |part: &&str| !part.contains('=') && !LEVELS.contains(&part.trim());
    if let Some(unknown) = level.split(',').find(bare) {
        return Err(LevelError::Unknown(unknown.trim().to_owned()));
    }
    // Libraries that report each routine step at `info`; a filter that names targets says it all.
    let quiet = if level.contains('=') { "" } else { QUIET };
    Ok(EnvFilter::builder().parse(format!("{quiet}{level}"))?)
}

#[cfg(test)]
mod tests;
