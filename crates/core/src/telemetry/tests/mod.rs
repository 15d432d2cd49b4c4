mod process;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::subscriber::with_default;

use super::*;

fn logging(format: LogFormat) -> Logging {
    Logging {
        level: "info".to_owned(),
        redact_secrets: true,
        format,
    }
}

/// Everything that is written while `work` runs.
fn logged(logging: &Logging, work: impl FnOnce(&Redaction)) -> String {
    let buffer = Buffer::default();
    let sink = buffer.clone();
    let (subscriber, redaction) = subscriber(logging, move || sink.clone()).unwrap();
    with_default(subscriber, || work(&redaction));
    let written = buffer.0.lock().unwrap().clone();
    String::from_utf8(written).unwrap()
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn known(redaction: &Redaction, value: &str) -> Known {
    redaction.know(Arc::new(Matcher::new([value.as_bytes()]).unwrap()))
}

fn text(work: impl FnOnce(&Redaction)) -> String {
    logged(&logging(LogFormat::Text), work)
}

fn json(work: impl FnOnce(&Redaction)) -> Value {
    let written = logged(&logging(LogFormat::Json), work);
    assert_eq!(written.lines().count(), 1, "{written}");
    serde_json::from_str(&written).unwrap()
}

const HOSTILE: &str =
    "a\nb\r\tc\x1b[31m\x1b]8;;x\x07\u{7f}\u{9b}2J\u{202e}\u{2066}\u{2028}\u{200f}\0z";

#[test]
fn record_is_one_line_of_harmless_characters() {
    let records = [
        text(|_| tracing::info!("{HOSTILE}")),
        text(|_| tracing::info!(user = HOSTILE, shown = %HOSTILE, debug = ?HOSTILE, "x")),
        text(|_| tracing::info_span!("s", user = %HOSTILE).in_scope(|| tracing::info!("x"))),
        logged(
            &logging(LogFormat::Json),
            |_| tracing::info!(user = %HOSTILE, "{HOSTILE}"),
        ),
    ];
    for record in records {
        let line = record.strip_suffix('\n').unwrap();
        let harmless = |c: char| !c.is_control() && c.is_ascii();
        assert!(line.chars().all(harmless), "{line:?}");
        assert!(line.contains('z'), "{line:?}");
    }
}

#[test]
fn json_gives_hostile_text_back_unchanged() {
    let record = json(|_| tracing::info!(user = %HOSTILE, "hello"));
    // The formatting layer has made terminal escapes readable before.
    let sent: String = HOSTILE.chars().filter(|c| !c.is_control()).collect();
    let kept: String = record["user"]
        .as_str()
        .unwrap()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    assert!(
        kept.ends_with("\u{202e}\u{2066}\u{2028}\u{200f}z"),
        "{kept:?} {sent:?}"
    );
    assert_eq!(record["message"], "hello");
    assert_eq!(record["level"], "INFO");
}

#[test]
fn ordinary_text_is_written_as_it_is() {
    let line = text(|_| tracing::info!(count = 3, name = "Zoë", "déjà vu 東京"));
    assert!(
        line.ends_with("déjà vu 東京 count=3 name=\"Zoë\"\n"),
        "{line}"
    );
}

#[test]
fn level_decides_what_is_recorded() {
    let mut settings = logging(LogFormat::Text);
    settings.level = "warn,chosen=debug".to_owned();
    let lines = logged(&settings, |_| {
        tracing::info!("left out");
        tracing::debug!(target: "chosen", "kept debug");
        tracing::warn!("kept warning");
    });
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(
        lines.contains("kept debug") && lines.contains("kept warning"),
        "{lines}"
    );
}

#[test]
fn unusable_levels_are_refused() {
    for level in ["", "inof", "3", "info,", "a=loud"] {
        assert!(filter(level).is_err(), "{level}");
    }
    for level in LEVELS {
        assert!(filter(level).is_ok(), "{level}");
    }
}

#[test]
fn fields_with_secret_names_are_masked_in_both_formats() {
    let line = text(|_| {
        tracing::info!(db_password = %"two words", secret.name = "DB", token = 7, "x");
    });
    assert!(
        line.ends_with("x db_password=[REDACTED] secret.name=\"DB\" token=[REDACTED]\n"),
        "{line}"
    );

    let record = json(|_| {
        tracing::info!(db_password = %"two \"words", secret.name = "DB", token = 7, "x");
    });
    assert_eq!(record["db_password"], "[REDACTED]");
    assert_eq!(record["secret.name"], "DB");
    assert_eq!(record["token"], "[REDACTED]");
}

#[test]
fn fields_of_spans_are_masked() {
    let work = |_: &Redaction| {
        tracing::info_span!("login", password = "hunter2").in_scope(|| tracing::info!("x"));
    };
    let both = text(work) + &logged(&logging(LogFormat::Json), work);
    assert!(!both.contains("hunter2"), "{both}");
    assert_eq!(both.matches("[REDACTED]").count(), 2, "{both}");
}

#[test]
fn known_values_are_masked_anywhere() {
    let value = "cor\"rect\nhorse";
    let work = |redaction: &Redaction| {
        let _known = [value, "correct", "correct staple"].map(|value| known(redaction, value));
        tracing::info!(debug = ?value, shown = %value, list = ?[value], "say correct staple");
    };
    for written in [text(work), logged(&logging(LogFormat::Json), work)] {
        assert!(
            !written.contains("horse") && !written.contains("staple"),
            "{written}"
        );
        assert_eq!(written.matches("[REDACTED]").count(), 4, "{written}");
        assert_eq!(written.lines().count(), 1, "{written}");
    }
}

#[test]
fn short_values_do_not_eat_the_log() {
    let line = text(|redaction| {
        let _known = ["", "ab"].map(|value| known(redaction, value));
        tracing::info!("about a table");
    });
    assert!(line.ends_with("about a table\n"), "{line}");
}

#[test]
fn redaction_can_be_switched_off() {
    let settings = Logging {
        redact_secrets: false,
        ..logging(LogFormat::Text)
    };
    let line = logged(&settings, |redaction| {
        let _known = known(redaction, "known value");
        tracing::info!(password = "hunter2", "known value");
    });
    assert!(
        line.ends_with("known value password=\"hunter2\"\n"),
        "{line}"
    );
}

#[derive(Debug)]
struct Outer(fmt::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn errors_are_written_with_their_causes() {
    let error = Outer(fmt::Error);
    let line = text(|_| tracing::error!(error = &error as &dyn Error, "failed"));
    assert!(
        line.contains("failed error=outer: an error occurred when formatting"),
        "{line}"
    );
}

#[test]
fn value_is_masked_only_while_it_is_known() {
    let lines = text(|redaction| {
        let first = known(redaction, "first-value");
        let second = known(redaction, "second-value");
        tracing::info!("first-value second-value");
        drop(first);
        tracing::info!("first-value second-value");
        drop(second);
    });
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].ends_with("[REDACTED] [REDACTED]"), "{lines:?}");
    assert!(lines[1].ends_with("first-value [REDACTED]"), "{lines:?}");
}

#[test]
fn mask_that_takes_syntax_with_it_still_leaves_json() {
    let record = json(|redaction| {
        let _known = known(redaction, "123456789");
        tracing::info!(count = 123_456_789, "x");
    });
    assert!(
        record["message"].as_str().unwrap().contains("[REDACTED]"),
        "{record}"
    );
}
