//! Parser events to tree: the grammar of what a document may use of YAML.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};

use super::{
    super::{
        error::{PipelineError, Position},
        path::Path,
        quote::quote,
    },
    Entry, Node, Scalar, Value,
};

/// Largest document, in bytes.
const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of lists and mappings.
const DEPTH_MAX: usize = 16;

/// Builds the tree of a document; a text without any value has none.
///
/// # Errors
/// The first thing that is not YAML, or is YAML that a pipeline may not use.
pub(in super::super) fn build(source: &str) -> Result<Option<Node>, PipelineError> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!(
            "the document has {} bytes, {SOURCE_BYTES_MAX} are allowed",
            source.len()
        );
        return Err(PipelineError::new(Position::START, "", message));
    }
    refuse_control_characters(source)?;
    Builder {
        source,
        parser: Parser::new_from_str(source),
        path: Path::default(),
        depth: 0,
    }
    .document()
}

fn refuse_control_characters(source: &str) -> Result<(), PipelineError> {
    let is_refused = |c: char| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r');
    let Some((before, rest)) = source
        .find(is_refused)
        .and_then(|at| source.split_at_checked(at))
    else {
        return Ok(());
    };
    let code = rest.chars().next().map_or(0, u32::from);
    let message = format!("control character U+{code:04X}; write it as an escape in double quotes");
    Err(PipelineError::new(end(before), "", message))
}

/// The place just after a text.
fn end(text: &str) -> Position {
    let last = text.rsplit('\n').next().unwrap_or(text);
    Position {
        line: text.matches('\n').count() + 1,
        column: last.chars().count() + 1,
    }
}

struct Builder<'a> {
    source: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    path: Path,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn document(mut self) -> Result<Option<Node>, PipelineError> {
        let mut root = None;
        loop {
            let (event, at) = self.next_event()?;
            match event {
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.error(at, "a second document begins here; write only one"));
                }
                Event::DocumentStart(_) => root = Some(self.node()?),
                Event::StreamEnd => return Ok(root),
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentEnd
                | Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {}
            }
        }
    }

    fn node(&mut self) -> Result<Node, PipelineError> {
        let (event, at) = self.next_event()?;
        self.node_from(event, at)
    }

    fn node_from(&mut self, event: Event<'a>, position: Position) -> Result<Node, PipelineError> {
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(position, anchor, tag.is_some())?;
                let text = text.into_owned();
                Value::Scalar(Scalar { text, style })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_properties(position, anchor, tag.is_some())?;
                self.deeper(position, Self::sequence)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_properties(position, anchor, tag.is_some())?;
                self.deeper(position, Self::mapping)?
            }
            Event::Alias(_) => return Err(self.error(position, ALIAS)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(self.error(position, "expected a value")),
        };
        Ok(Node { position, value })
    }

    fn sequence(&mut self) -> Result<Value, PipelineError> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next_event()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Sequence(items));
            }
            let mark = self.path.enter_item(items.len());
            items.push(self.node_from(event, at)?);
            self.path.leave(mark);
        }
    }

    fn mapping(&mut self) -> Result<Value, PipelineError> {
        let mut entries = Vec::new();
        let mut lines = BTreeMap::new();
        loop {
            let (event, key_position) = self.next_event()?;
            if event == Event::MappingEnd {
                return Ok(Value::Mapping(entries));
            }
            let key = self.key(event, key_position)?;
            if let Some(line) = lines.insert(key.clone(), key_position.line) {
                let key = quote(&key);
                let message = format!("the key {key} appears twice, first in line {line}");
                return Err(self.error(key_position, message));
            }
            let mark = self.path.enter_key(&key);
            let value = self.node()?;
            self.path.leave(mark);
            entries.push(Entry {
                key,
                key_position,
                value,
            });
        }
    }

    fn key(&mut self, event: Event<'a>, at: Position) -> Result<String, PipelineError> {
        match self.node_from(event, at)?.value {
            Value::Scalar(scalar) => Ok(scalar.text),
            Value::Sequence(_) | Value::Mapping(_) => {
                Err(self.error(at, "a key must be a word, not a list or a mapping"))
            }
        }
    }

    fn deeper(
        &mut self,
        at: Position,
        read: impl FnOnce(&mut Self) -> Result<Value, PipelineError>,
    ) -> Result<Value, PipelineError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(at, format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn refuse_properties(
        &self,
        at: Position,
        anchor: usize,
        has_tag: bool,
    ) -> Result<(), PipelineError> {
        if anchor != 0 {
            return Err(self.error(at, ANCHOR));
        }
        if has_tag {
            return Err(self.error(at, TAG));
        }
        Ok(())
    }

    fn next_event(&mut self) -> Result<(Event<'a>, Position), PipelineError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(span))),
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => Err(self.error(Position::START, "the document ends too early")),
        }
    }

    fn syntax_error(&self, error: &ScanError) -> PipelineError {
        let at = position(Span::empty(*error.marker()));
        let line = self.source.lines().nth(at.line - 1);
        match line.and_then(|line| line.chars().nth(at.column - 1)) {
            Some('*') => self.error(at, ALIAS),
            Some('!') => self.error(at, TAG),
            Some(c @ ('@' | '`' | '%')) => {
                self.error(at, format!("put quotes around text that begins with {c}"))
            }
            Some(_) => self.error(at, format!("not valid YAML: {}", error.info())),
            None => {
                let at = at.min(end(self.source));
                self.error(at, format!("not valid YAML: {}", error.info()))
            }
        }
    }

    fn error(&self, at: Position, message: impl Into<String>) -> PipelineError {
        PipelineError::new(at, self.path.as_str(), message)
    }
}

const ANCHOR: &str = "anchors are not supported; put quotes around text that begins with &";
const ALIAS: &str = "aliases are not supported; put quotes around text that begins with *";
const TAG: &str = "tags are not supported; put quotes around text that begins with !";

fn position(span: Span) -> Position {
    Position {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::scalar::Kind, *};

    fn refusal(source: &str) -> String {
        build(source).unwrap_err().to_string()
    }

    #[test]
    fn every_value_knows_its_place() {
        let root = build("a: 1\nlist:\n  - x\n  - 'y'\n").unwrap().unwrap();
        let Value::Mapping(entries) = root.value else {
            panic!("not a mapping");
        };
        assert_eq!(entries[1].key_position, Position { line: 2, column: 1 });
        let Value::Sequence(items) = &entries[1].value.value else {
            panic!("not a list");
        };
        assert_eq!(items[0].position, Position { line: 3, column: 5 });
        assert_eq!(items[1].position, Position { line: 4, column: 5 });
    }

    #[test]
    fn text_without_a_value_has_no_tree() {
        for source in ["", " \n", "# only a comment\n"] {
            assert!(build(source).unwrap().is_none(), "{source:?}");
        }
    }

    #[test]
    fn quoted_words_are_text_and_unquoted_ones_may_not_be() {
        let kinds: Vec<Kind> = ["x: true", "x: 'true'", "x: \"1\"", "x: |\n  1\n"]
            .into_iter()
            .map(|source| {
                let Value::Mapping(entries) = build(source).unwrap().unwrap().value else {
                    panic!("not a mapping");
                };
                let Value::Scalar(scalar) = &entries[0].value.value else {
                    panic!("not a scalar");
                };
                scalar.kind()
            })
            .collect();
        assert_eq!(
            kinds,
            [Kind::Boolean(true), Kind::Text, Kind::Text, Kind::Text]
        );
    }

    #[test]
    fn anchors_aliases_and_tags_are_refused_where_they_stand() {
        assert_eq!(refusal("a: &x y"), format!("line 1, column 4: a: {ANCHOR}"));
        assert_eq!(
            refusal("a:\n  - &x {}"),
            format!("line 2, column 5: a[0]: {ANCHOR}")
        );
        assert_eq!(refusal("&x a: b"), format!("line 1, column 1: {ANCHOR}"));
        assert_eq!(refusal("a: *zip"), format!("line 1, column 4: a: {ALIAS}"));
        assert_eq!(refusal("a: !!str 1"), format!("line 1, column 4: a: {TAG}"));
        assert_eq!(refusal("a: !f(x)"), format!("line 1, column 4: a: {TAG}"));
        assert_eq!(refusal("!x [a]"), format!("line 1, column 1: {TAG}"));
    }

    #[test]
    fn repeated_key_names_both_lines() {
        assert_eq!(
            refusal("s:\n  a: 1\n  b: 2\n  \"a\": 3"),
            "line 4, column 3: s: the key \"a\" appears twice, first in line 2"
        );
    }

    #[test]
    fn second_document_is_refused() {
        assert_eq!(
            refusal("a: 1\n---\nb: 2"),
            "line 2, column 1: a second document begins here; write only one"
        );
    }

    #[test]
    fn key_that_is_a_list_is_refused() {
        assert_eq!(
            refusal("? [a]\n: b"),
            "line 1, column 3: a key must be a word, not a list or a mapping"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(build(&nested(DEPTH_MAX)).is_ok());
        let path = "[0]".repeat(DEPTH_MAX);
        assert_eq!(
            refusal(&nested(DEPTH_MAX + 1)),
            format!("line 1, column 17: {path}: nested more than 16 levels deep")
        );
        assert!(build(&nested(20_000)).is_err());
        assert!(build(&"- ".repeat(30_000)).is_err());
        assert!(build(&"? ".repeat(30_000)).is_err());
    }

    #[test]
    fn size_is_bounded() {
        let full = "#".repeat(SOURCE_BYTES_MAX);
        assert!(build(&full).is_ok());
        assert_eq!(
            refusal(&format!("{full}#")),
            "line 1, column 1: the document has 65537 bytes, 65536 are allowed"
        );
    }

    #[test]
    fn control_character_is_refused_where_it_stands() {
        assert_eq!(
            refusal("a: b\nc: é\u{7}"),
            "line 2, column 5: control character U+0007; write it as an escape in double quotes"
        );
        assert!(refusal("a\0b: c").contains("U+0000"));
    }

    #[test]
    fn text_that_needs_quotes_says_so() {
        assert_eq!(
            refusal("a: @b"),
            "line 1, column 4: a: put quotes around text that begins with @"
        );
    }

    #[test]
    fn broken_yaml_is_refused_within_the_document() {
        for (source, place) in [
            ("a: [", "line 1, column 5: a: not valid YAML: "),
            ("a: [\n", "line 2, column 1: a: not valid YAML: "),
            ("a: 1\r\nb: ]", "line 2, column 4: b: not valid YAML: "),
            ("a: b: c", "line 1, column 5: not valid YAML: "),
            ("a:\n\tb: c", "line 2, column 2: a: not valid YAML: "),
            ("a: 'x", "line 1, column 4: a: not valid YAML: "),
        ] {
            let refusal = refusal(source);
            assert!(refusal.starts_with(place), "{source:?}: {refusal}");
        }
    }
}
