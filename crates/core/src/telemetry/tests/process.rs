//! A process of its own says everything that must not be said, in every way that there is.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    thread,
};

use slipway_testkit::{Program, variable};

use super::*;

const FORMAT: &str = "TEST_FORMAT";
const VALUE: &str = "s3cr3t \"quoted\" \\value\nwith-a-second-line é";
/// Pieces of it that no record may have.
const TRACES: [&str; 3] = ["s3cr3t", "with-a-second-line", "value"];
/// What only its name gives away.
const NAMED: &str = "Tr0ub4dor";
const LAST: &str = "that was all";

#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner(String);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to mysql://me:{NAMED}@db/x")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access denied for {}", self.0)
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl Error for Inner {}

/// Panics while it is written.
struct Fragile;

impl fmt::Debug for Fragile {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("cannot show {VALUE}")
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "it is only printed")]
struct Login {
    user: String,
    password: String,
    tokens: Vec<String>,
    note: Option<String>,
}

#[test]
#[ignore = "the tests below start it as a process of its own"]
fn process_that_says_everything() {
    let format = match variable(FORMAT).as_deref() {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let settings = Logging {
        level: "trace".to_owned(),
        ..logging(format)
    };
    let redaction = start(&settings).unwrap();
    let _known = known(&redaction, VALUE);

    tracing::info!("message {VALUE}");
    tracing::info!(field = VALUE, shown = %VALUE, debug = ?Some(VALUE), "x");
    tracing::info!(list = ?[VALUE], nested = %serde_json::json!({ "a": { "b": VALUE } }), "x");
    let twice = serde_json::json!({ "body": serde_json::json!({ "key": VALUE }).to_string() });
    tracing::info!(body = %twice, debug = ?twice.to_string(), "{twice}");
    tracing::info!(hex = %hex::encode(VALUE), "x");
    let span = tracing::info_span!("span", field = VALUE, later = tracing::field::Empty);
    span.record("later", VALUE);
    span.in_scope(|| tracing::info!(target: "some::target", "within"));
    let error = Outer(Inner(VALUE.to_owned()));
    tracing::error!(error = &error as &dyn Error, "failed");
    tracing::error!(error = ?anyhow::Error::new(error).context(VALUE), "failed");
    let login = Login {
        user: "me".to_owned(),
        password: NAMED.to_owned(),
        tokens: vec![NAMED.to_owned()],
        note: Some(VALUE.to_owned()),
    };
    tracing::info!(login = ?login, "{login:?} {login:#?}");
    for named in [
        format!("DB_PASSWORD={NAMED} x"),
        format!("{{\"apiKey\": \"{NAMED}\"}}"),
        format!("Authorization: Bearer {NAMED}"),
        serde_json::json!({ "m": format!("{{\"password\":\"{NAMED}\"}}") }).to_string(),
    ] {
        tracing::info!("{named}");
        log::warn!("{named}");
    }
    log::error!(target: VALUE, "from a library: {VALUE}");
    tracing::info!("{HOSTILE}\n2026-01-01T00:00:00Z  INFO forged: record");
    log::info!("{HOSTILE}\n{{\"level\":\"INFO\",\"message\":\"forged\"}}");

    let panicked = thread::spawn(|| panic!("a thread's {VALUE}"));
    assert!(panicked.join().is_err());
    assert!(catch_unwind(|| panic_any(format!("any {VALUE}"))).is_err());
    assert!(catch_unwind(|| panic_any(7)).is_err());
    let fragile = AssertUnwindSafe(|| tracing::info!(fragile = ?Fragile, "x"));
    assert!(catch_unwind(fragile).is_err());
    tracing::info!("{LAST}");
    last_words("program", &anyhow::anyhow!("{VALUE}\nsecond line\x1b[2J"));
}

/// What that process has written to its log.
fn said(format: &str) -> String {
    let output = Program::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "telemetry::tests::process::process_that_says_everything",
        ])
        .args(["--ignored", "--nocapture"])
        .env(FORMAT, format)
        .run();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    for trace in TRACES.into_iter().chain([NAMED]) {
        assert!(!said.contains(trace), "{trace} in:\n{said}");
    }
    let (log, words) = said.split_once(LAST).unwrap();
    let words: Vec<&str> = words.lines().skip(1).collect();
    assert_eq!(words, ["program: [REDACTED]", "second line\\u{1b}[2J"]);
    let control = |c: char| c.is_control() && c != '\n' || "\u{2028}\u{202e}".contains(c);
    assert!(!said.contains(control), "{said:?}");
    let log = log.to_owned();
    // Panics and the records of libraries are among them.
    for expected in [
        "a thread's [REDACTED]",
        "from a library: [REDACTED]",
        "without a message",
    ] {
        assert!(log.contains(expected), "{expected} in:\n{log}");
    }
    log
}

/// How many records that process writes before the last one.
const RECORDS: usize = 8 + 1 + 2 * 4 + 3 + 4;

#[test]
fn nothing_gets_past_the_text_log() {
    let log = said("text");
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines {
        let begins = line
            .get(..4)
            .is_some_and(|year| year.parse::<u16>().is_ok());
        assert!(begins, "no record of its own: {line}");
    }
    assert_eq!(lines.len(), RECORDS + 1, "{log}");
}

#[test]
fn nothing_gets_past_the_json_log() {
    let log = said("json");
    let lines: Vec<&str> = log.lines().collect();
    // The last one was cut within its message.
    let (_, whole) = lines.split_last().unwrap();
    for line in whole {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(record["message"] != "forged", "{line}");
    }
    assert_eq!(whole.len(), RECORDS, "{log}");
}
