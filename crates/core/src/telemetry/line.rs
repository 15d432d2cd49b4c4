//! One record, one line: the last thing that happens to a record before it is written.
//!
//! Works on the whole formatted record, so that nothing a field contains can begin a new record,
//! drive a terminal, or turn the direction of the text around.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::Redaction;
use crate::settings::LogFormat;

/// Makes writers that mask and escape what they are given.
#[derive(Debug)]
pub(super) struct Lines<W> {
    inner: W,
    format: LogFormat,
    redaction: Redaction,
}

impl<W> Lines<W> {
    pub(super) fn new(inner: W, format: LogFormat, redaction: Redaction) -> Self {
        Self {
            inner,
            format,
            redaction,
        }
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Lines<W> {
    type Writer = Line<'w, W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line {
            inner: self.inner.make_writer(),
            format: self.format,
            redaction: &self.redaction,
        }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> Self::Writer {
        let inner = self.inner.make_writer_for(metadata);
        Line {
            inner,
            format: self.format,
            redaction: &self.redaction,
        }
    }
}

/// Takes one whole record in one call, which is how the formatting layer writes.
#[derive(Debug)]
pub(super) struct Line<'r, W> {
    inner: W,
    format: LogFormat,
    redaction: &'r Redaction,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let masked = self.redaction.mask(text, self.format);
        let mut line = escaped(&masked, self.format);
        line.push('\n');
        self.inner.write_all(line.as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub(super) fn escaped(record: &str, format: LogFormat) -> String {
    let mut line = String::with_capacity(record.len() + 1);
    for c in record.chars() {
        if !misleads(c) {
            line.push(c);
            continue;
        }
        let written = match format {
            // Only inside strings: JSON has escaped the other control characters already.
            LogFormat::Json => write!(line, "\\u{:04x}", u32::from(c)),
            LogFormat::Text => write!(line, "{}", c.escape_default()),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    line
}

/// Control characters, line separators, and what changes the direction of text.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        )
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
