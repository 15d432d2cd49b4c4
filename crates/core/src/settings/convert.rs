//! Turns one given value into the type that its setting has.
//!
//! Stricter than YAML and looser than it at once: a number is no text (an unquoted `0123` has
//! already lost its zero), but a text that came out of `${PORT}` may be a number.

use config::{Value, ValueKind};

use super::schema::{Kind, join};

/// A value that is not of its setting's type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// The setting, with the index of the item where it is a list.
    pub(super) key: String,
    /// What it should be.
    pub(super) expected: &'static str,
    /// What it is.
    pub(super) found: String,
}

/// The value in its setting's type, or `None` where it says no more than "not set".
pub(super) fn convert(kind: Kind, key: &str, value: &Value) -> Result<Option<Value>, Mismatch> {
    let mismatch = || Mismatch {
        key: key.to_owned(),
        expected: kind.name(),
        found: found(kind, &value.kind),
    };
    let converted = match (kind, &value.kind) {
        (Kind::OptionalText, ValueKind::Nil) => ValueKind::Nil,
        (_, ValueKind::Nil) => return Ok(None),
        (Kind::OptionalText, ValueKind::String(text)) if text.is_empty() => ValueKind::Nil,
        (Kind::Text | Kind::OptionalText, ValueKind::String(text)) => text.as_str().into(),
        (Kind::Integer, ValueKind::I64(number)) => ValueKind::I64(*number),
        (Kind::Integer, ValueKind::String(text)) => integer(text).ok_or_else(mismatch)?,
        (Kind::Flag, ValueKind::Boolean(flag)) => ValueKind::Boolean(*flag),
        (Kind::Flag, ValueKind::String(text)) => flag(text).ok_or_else(mismatch)?,
        (Kind::TextList | Kind::IntegerList, ValueKind::Array(items)) => list(kind, key, items)?,
        (Kind::TextList | Kind::IntegerList, ValueKind::String(text)) => list(
            kind,
            key,
            &listed(text, value.origin()).ok_or_else(mismatch)?,
        )?,
        (Kind::TextMap, ValueKind::Table(table)) => map(key, table)?,
        _ => return Err(mismatch()),
    };
    Ok(Some(at(value.origin(), converted)))
}

/// A value that remembers where it came from.
pub(super) fn at(origin: Option<&str>, kind: impl Into<ValueKind>) -> Value {
    Value::new(origin.map(str::to_owned).as_ref(), kind)
}

fn integer(text: &str) -> Option<ValueKind> {
    text.trim().parse::<i64>().ok().map(ValueKind::I64)
}

fn flag(text: &str) -> Option<ValueKind> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(ValueKind::Boolean(true)),
        "false" | "no" | "off" | "0" => Some(ValueKind::Boolean(false)),
        _ => None,
    }
}

fn list(kind: Kind, key: &str, items: &[Value]) -> Result<ValueKind, Mismatch> {
    let item = |(index, value)| convert(kind.item(), &format!("{key}[{index}]"), value);
    let converted: Result<Vec<_>, _> = items.iter().enumerate().map(item).collect();
    Ok(ValueKind::Array(converted?.into_iter().flatten().collect()))
}

fn map(key: &str, table: &config::Map<String, Value>) -> Result<ValueKind, Mismatch> {
    let mut converted = config::Map::new();
    for (name, value) in table {
        if let Some(value) = convert(Kind::Text, &join(key, name), value)? {
            converted.insert(name.clone(), value);
        }
    }
    Ok(ValueKind::Table(converted))
}

/// The items of a list in one text: JSON, or with commas between them.
fn listed(text: &str, origin: Option<&str>) -> Option<Vec<Value>> {
    let text = text.trim();
    if !text.starts_with('[') {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        return Some(items.map(|item| at(origin, item)).collect());
    }
    let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let scalar = |item: &serde_json::Value| match item.as_i64() {
        Some(number) => Some(at(origin, number)),
        None => item.as_str().map(|text| at(origin, text)),
    };
    items.iter().map(scalar).collect()
}

fn found(kind: Kind, value: &ValueKind) -> String {
    let wants_text = matches!(kind, Kind::Text | Kind::OptionalText);
    match value {
        ValueKind::Nil => "empty".to_owned(),
        ValueKind::Table(_) => "a section".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        ValueKind::String(text) if text.is_empty() => "empty".to_owned(),
        ValueKind::String(text) if repeatable(kind, text) => format!("`{text}`"),
        ValueKind::String(_) => "a text".to_owned(),
        ValueKind::Boolean(_) if wants_text => "true or false; put it in quotes".to_owned(),
        _ if wants_text => "a number; put it in quotes".to_owned(),
        ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => format!("`{value}`"),
    }
}

/// Whether a message may repeat the text: a secret that went to the wrong place must not show.
fn repeatable(kind: Kind, text: &str) -> bool {
    !matches!(kind, Kind::Section | Kind::TextMap) && text.chars().count() <= 12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(kind: Kind, value: impl Into<ValueKind>) -> Result<Option<ValueKind>, Mismatch> {
        Ok(convert(kind, "key", &at(None, value))?.map(|value| value.kind))
    }

    fn found_in(kind: Kind, value: impl Into<ValueKind>) -> String {
        converted(kind, value).unwrap_err().found
    }

    #[test]
    fn texts_become_the_type_of_their_setting() {
        assert_eq!(
            converted(Kind::Integer, " 42 "),
            Ok(Some(ValueKind::I64(42)))
        );
        assert_eq!(
            converted(Kind::Flag, "Yes"),
            Ok(Some(ValueKind::Boolean(true)))
        );
        assert_eq!(
            converted(Kind::Flag, "0"),
            Ok(Some(ValueKind::Boolean(false)))
        );
        assert_eq!(converted(Kind::Text, "0123"), Ok(Some("0123".into())));
    }

    #[test]
    fn lists_are_json_or_have_commas() {
        let numbers = |numbers: &[i64]| {
            Ok(Some(ValueKind::Array(
                numbers.iter().map(|n| at(None, *n)).collect(),
            )))
        };
        assert_eq!(converted(Kind::IntegerList, "1, 2,3"), numbers(&[1, 2, 3]));
        assert_eq!(converted(Kind::IntegerList, "[1, 2]"), numbers(&[1, 2]));
        assert_eq!(converted(Kind::IntegerList, ""), numbers(&[]));
        let texts = Ok(Some(ValueKind::Array(vec![
            at(None, "a, b"),
            at(None, "c"),
        ])));
        assert_eq!(converted(Kind::TextList, r#"["a, b", "c"]"#), texts);
    }

    #[test]
    fn wrong_item_is_named_by_its_index() {
        let error = converted(Kind::IntegerList, "1,two").unwrap_err();
        assert_eq!(error.key, "key[1]");
        assert_eq!(error.expected, "a whole number");
        assert_eq!(error.found, "`two`");
        assert_eq!(converted(Kind::IntegerList, "[1,").unwrap_err().key, "key");
    }

    #[test]
    fn empty_text_is_no_value_only_where_none_is_allowed() {
        assert_eq!(converted(Kind::OptionalText, ""), Ok(Some(ValueKind::Nil)));
        assert_eq!(converted(Kind::Text, ""), Ok(Some("".into())));
        assert_eq!(found_in(Kind::Integer, ""), "empty");
        assert_eq!(converted(Kind::Integer, ValueKind::Nil), Ok(None));
    }

    #[test]
    fn numbers_are_not_taken_for_texts_and_never_repeated() {
        assert_eq!(
            found_in(Kind::OptionalText, 1234_i64),
            "a number; put it in quotes"
        );
        assert_eq!(
            found_in(Kind::Text, true),
            "true or false; put it in quotes"
        );
    }

    #[test]
    fn secret_in_the_wrong_place_is_not_repeated() {
        assert_eq!(found_in(Kind::Integer, "correct horse battery"), "a text");
        assert_eq!(found_in(Kind::Section, "hunter2"), "a text");
        assert_eq!(found_in(Kind::TextMap, "hunter2"), "a text");
    }

    #[test]
    fn nothing_else_passes_for_a_number_or_a_flag() {
        assert_eq!(found_in(Kind::Integer, 2.5), "`2.5`");
        assert_eq!(found_in(Kind::Integer, true), "`true`");
        assert_eq!(found_in(Kind::Flag, 1_i64), "`1`");
        assert_eq!(found_in(Kind::Integer, Vec::<i64>::new()), "a list");
    }
}
