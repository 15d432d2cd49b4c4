//! Where and why a pipeline document was refused.
//!
//! The messages are for the person who wrote the document.

use serde::Serialize;
use thiserror::Error;

/// A place in the source, counted from 1 in lines and in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// One mistake in a pipeline document.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[error("line {line}, column {column}: {}{message}", path_prefix(.path))]
pub struct PipelineError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The value's place in the document, such as `build[0].timeout`; empty for the whole.
    pub path: String,
    /// What was expected, and what was found instead.
    pub message: String,
}

impl PipelineError {
    pub(super) fn new(at: Position, path: &str, message: impl Into<String>) -> Self {
        Self {
            line: at.line,
            column: at.column,
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// The first mistakes of a pipeline document in document order, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[error("{}", one_a_line(.0))]
#[serde(transparent)]
pub struct PipelineErrors(pub Vec<PipelineError>);

impl From<PipelineError> for PipelineErrors {
    fn from(error: PipelineError) -> Self {
        Self(vec![error])
    }
}

fn path_prefix(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    }
}

fn one_a_line(errors: &[PipelineError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_without_path_starts_with_the_place() {
        let error = PipelineError::new(Position::START, "", "the document is empty");
        assert_eq!(error.to_string(), "line 1, column 1: the document is empty");
    }

    #[test]
    fn several_errors_print_one_a_line() {
        let first = PipelineError::new(Position { line: 4, column: 7 }, "build[0].run", "a");
        let second = PipelineError::new(Position { line: 5, column: 1 }, "health", "b");
        assert_eq!(
            PipelineErrors(vec![first, second]).to_string(),
            "line 4, column 7: build[0].run: a\nline 5, column 1: health: b"
        );
    }
}
