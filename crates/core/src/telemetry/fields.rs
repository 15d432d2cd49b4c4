//! Fields of a record in the text format: `name=value` with spaces between.
//!
//! Secrets are left out here already, where a field's name and extent are still known; what remains
//! for the scanner are secrets inside messages.

use std::{error::Error, fmt};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

use slipway_redact::MASK;

use super::{Redaction, names};

/// Writes the fields of spans and events.
#[derive(Debug)]
pub(super) struct Fields {
    redaction: Redaction,
}

impl Fields {
    pub(super) fn new(redaction: &Redaction) -> Self {
        Self {
            redaction: redaction.clone(),
        }
    }
}

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let masked = self.redaction.enabled();
        let mut visitor = Visitor {
            writer,
            masked,
            first: true,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'w> {
    writer: Writer<'w>,
    masked: bool,
    first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        if !self.first {
            self.writer.write_char(' ')?;
        }
        self.first = false;
        match name.trim_start_matches("r#") {
            "message" => write!(self.writer, "{value}"),
            name if self.masked && names::is_secret(name) => write!(self.writer, "{name}={MASK}"),
            name => write!(self.writer, "{name}={value}"),
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        self.record_debug(field, &format_args!("{chain}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), format_args!("{value:?}"));
        }
    }
}
