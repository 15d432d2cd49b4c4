//! Tree to types: reads a whole document and collects what is wrong in it.
//!
//! A reader answers `None` or a default for a wrong value and goes on; the result only leaves
//! [`parse`] when nothing was wrong anywhere.

mod sections;
mod step;
mod values;

use std::collections::BTreeMap;

use super::{
    error::{PipelineError, PipelineErrors, Position},
    json::join_surrogates,
    model::Pipeline,
    node::{self, Entry, Node},
    path::Path,
    suggest,
};

/// Most mistakes that are reported at once.
const ERRORS_MAX: usize = 20;

/// Reads a pipeline document, YAML or JSON.
///
/// # Errors
/// What is wrong in the document, in document order: the first mistake against YAML itself, or
/// else up to 20 against what a pipeline may say.
pub fn parse(source: &str) -> Result<Pipeline, PipelineErrors> {
    let source = join_surrogates(source);
    let root = node::build(&source)?;
    let mut reader = Reader {
        source: &source,
        path: Path::default(),
        step_lines: BTreeMap::new(),
        errors: Vec::new(),
    };
    let pipeline = reader.document(root.as_ref());
    if reader.errors.is_empty() {
        return Ok(pipeline);
    }
    // What is missing from a mapping is only known at its end, but it is reported at its start.
    reader
        .errors
        .sort_by_key(|error| (error.line, error.column));
    reader.errors.truncate(ERRORS_MAX);
    Err(PipelineErrors(reader.errors))
}

/// Walks the tree and remembers where it is and what was wrong.
struct Reader<'a> {
    source: &'a str,
    path: Path,
    /// The line of each step name.
    step_lines: BTreeMap<String, usize>,
    errors: Vec<PipelineError>,
}

impl Reader<'_> {
    fn fail(&mut self, at: Position, message: impl Into<String>) {
        self.errors
            .push(PipelineError::new(at, self.path.as_str(), message));
    }

    /// Records what a rule finds wrong.
    fn check(&mut self, at: Position, verdict: Result<(), String>) {
        if let Err(message) = verdict {
            self.fail(at, message);
        }
    }

    /// Reads every entry of a mapping with the path at its key.
    fn each_entry(&mut self, entries: &[Entry], mut read: impl FnMut(&mut Self, &Entry)) {
        for entry in entries {
            let mark = self.path.enter_key(&entry.key);
            read(self, entry);
            self.path.leave(mark);
        }
    }

    /// Reads every item of a list with the path at its index.
    fn each_item<T>(
        &mut self,
        items: &[Node],
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let mark = self.path.enter_item(index);
            values.extend(read(self, item));
            self.path.leave(mark);
        }
        values
    }

    fn unknown_key(&mut self, entry: &Entry, known: &[&str]) {
        let hint = suggest::hint(&entry.key, known);
        self.fail(entry.key_position, format!("unknown key; {hint}"));
    }

    fn require(&mut self, at: Position, entries: &[Entry], key: &str) {
        if !entries.iter().any(|entry| entry.key == key) {
            self.fail(at, format!("\"{key}\" is missing"));
        }
    }
}

#[cfg(test)]
mod tests;
