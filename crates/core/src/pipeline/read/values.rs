//! Single values: what kind a place expects, and what stands there instead.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    super::{
        duration,
        error::Position,
        node::{Entry, Node, Scalar, Value},
        quote::quote,
        scalar::Kind,
        suggest,
    },
    Reader,
};

impl Reader<'_> {
    /// The entries of a mapping.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Entry]> {
        match &node.value {
            Value::Mapping(entries) => Some(entries),
            Value::Scalar(_) | Value::Sequence(_) => self.unexpected(node, what),
        }
    }

    /// The items of a list of at most `max`; a longer one is not looked into.
    pub(super) fn items<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        max: usize,
    ) -> Option<&'n [Node]> {
        let Value::Sequence(items) = &node.value else {
            return self.unexpected(node, what);
        };
        if items.len() > max {
            let count = items.len();
            self.fail(
                node.position,
                format!("the list has {count} items, {max} are allowed"),
            );
            return None;
        }
        Some(items)
    }

    /// The texts, of which each may appear once.
    pub(super) fn distinct(&mut self, texts: Vec<(String, Position)>) -> Vec<String> {
        let mut seen: Vec<String> = Vec::with_capacity(texts.len());
        for (text, at) in texts {
            if seen.contains(&text) {
                self.fail(at, "this appears twice in the list");
            } else {
                seen.push(text);
            }
        }
        seen
    }

    /// A text. Unquoted words that stand for something else are refused, not guessed at.
    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match as_scalar(node) {
            Some((Kind::Text, scalar)) => Some(&scalar.text),
            Some((Kind::Number | Kind::Boolean(_), _)) => {
                let message = format!("expected text, found {}; put quotes around it", found(node));
                self.fail(node.position, message);
                None
            }
            Some((Kind::Null, _)) | None => self.unexpected(node, "text"),
        }
    }

    /// A text that a rule accepts.
    pub(super) fn checked(
        &mut self,
        node: &Node,
        rule: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = self.text(node)?;
        self.check(node.position, rule(text));
        Some(text.to_owned())
    }

    /// A text, number or boolean, as written.
    pub(super) fn written(&mut self, node: &Node) -> Option<String> {
        match as_scalar(node) {
            Some((Kind::Text | Kind::Number | Kind::Boolean(_), scalar)) => {
                Some(scalar.text.clone())
            }
            Some((Kind::Null, _)) => self.unexpected(node, "a value (\"\" for an empty one)"),
            None => self.unexpected(node, "a value"),
        }
    }

    pub(super) fn boolean(&mut self, node: &Node) -> Option<bool> {
        match as_scalar(node) {
            Some((Kind::Boolean(value), _)) => Some(value),
            Some((Kind::Text | Kind::Number | Kind::Null, _)) | None => {
                self.unexpected(node, "true or false")
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node, range: RangeInclusive<u32>) -> Option<u32> {
        let value = match as_scalar(node) {
            Some((Kind::Number, scalar)) => scalar.text.parse().ok(),
            Some((Kind::Text | Kind::Boolean(_) | Kind::Null, _)) | None => None,
        };
        if let Some(value) = value.filter(|value| range.contains(value)) {
            return Some(value);
        }
        let (min, max) = (range.start(), range.end());
        self.unexpected(node, &format!("a whole number from {min} to {max}"))
    }

    pub(super) fn duration(
        &mut self,
        node: &Node,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(scalar) = as_scalar(node).map(|(_, scalar)| scalar) else {
            return self.unexpected(node, "a duration such as 10m");
        };
        if let Some(value) = duration::parse(&scalar.text) {
            if range.contains(&value) {
                return Some(value);
            }
            let (min, max) = (
                duration::format(*range.start()),
                duration::format(*range.end()),
            );
            return self.unexpected(node, &format!("a duration from {min} to {max}"));
        }
        let text = &scalar.text;
        if !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let message =
                format!("expected a duration such as 10m, found {text}; add a unit: {text}s");
            self.fail(node.position, message);
            return None;
        }
        self.unexpected(node, "a duration such as 10m")
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let hint = suggest::hint(text, &words);
        self.fail(
            node.position,
            format!("unknown word {}; {hint}", quote(text)),
        );
        None
    }

    /// Records that something else stands here.
    fn unexpected<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", found(node));
        self.fail(node.position, message);
        None
    }
}

fn as_scalar(node: &Node) -> Option<(Kind, &Scalar)> {
    match &node.value {
        Value::Scalar(scalar) => Some((scalar.kind(), scalar)),
        Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// A value as messages name it.
fn found(node: &Node) -> String {
    match &node.value {
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Scalar(scalar) => match scalar.kind() {
            Kind::Null => "nothing".to_owned(),
            Kind::Boolean(value) => value.to_string(),
            Kind::Number => format!("the number {}", shortened(&scalar.text)),
            Kind::Text => quote(&scalar.text),
        },
    }
}

fn shortened(number: &str) -> &str {
    number.get(..20).unwrap_or(number)
}
