//! The document as a small tree in which every value knows where it stands.
//!
//! What makes YAML dangerous to share or hard to read back (anchors, aliases, tags, repeated
//! keys, several documents, deep nesting) is refused here. The tree knows nothing of pipelines.

mod build;

use saphyr_parser::ScalarStyle;

use super::{
    error::Position,
    scalar::{self, Kind},
};

pub(super) use self::build::build;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A text, number, boolean or nothing, as written.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) style: ScalarStyle,
}

/// One key of a mapping with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_position: Position,
    pub(super) value: Node,
}

impl Scalar {
    /// What the scalar stands for; anything in quotes is text.
    pub(super) fn kind(&self) -> Kind {
        match self.style {
            ScalarStyle::Plain => scalar::resolve(&self.text),
            ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded => Kind::Text,
        }
    }
}

impl Node {
    /// The place of the character at `offset` of a scalar's text, if the source has the text up
    /// to there on one line as it is, with no escape and no fold.
    pub(super) fn position_inside(&self, source: &str, offset: usize) -> Option<Position> {
        let Value::Scalar(scalar) = &self.value else {
            return None;
        };
        let quote = match scalar.style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            // The place of a block is its first line.
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => 0,
        };
        let Position { line, column } = self.position;
        let written = source
            .lines()
            .nth(line - 1)?
            .chars()
            .skip(column - 1 + quote);
        let is_same = scalar.text.chars().take(offset).eq(written.take(offset));
        is_same.then_some(Position {
            line,
            column: column + quote + offset,
        })
    }
}
