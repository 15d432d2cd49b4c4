//! Forms whose fields a service describes.

use std::collections::BTreeMap;

use slipway_core::{
    error::Error,
    field::{DisplayName, Problems},
    notify::provider::{Field, FieldKind, Values},
};

/// Everything that a form sent, by name.
pub(super) type Fields = BTreeMap<String, String>;

/// What the names of a service's own fields begin with, so that none can be mistaken for ours.
const PREFIX: &str = "field-";

/// One field, as its form shows it.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
    /// The type of the HTML element.
    pub(super) html: &'static str,
    /// What can be chosen; empty for anything else.
    pub(super) choices: &'static [&'static str],
    pub(super) value: String,
    /// Whether it may not be left empty.
    pub(super) is_required: bool,
    /// Whether it holds a secret value already, which is not shown.
    pub(super) is_kept: bool,
}

/// The fields of a form. `typed` is what somebody sent before, if it was refused.
pub(super) fn inputs(
    fields: &[Field],
    stored: &Values,
    secrets: &[String],
    typed: Option<&Fields>,
) -> Vec<Input> {
    let input = |field: &Field| {
        let name = format!("{PREFIX}{}", field.name);
        let kept = secrets.iter().any(|secret| secret == field.name);
        let known = stored.get(field.name).filter(|_| !field.secret);
        let value = match typed.and_then(|typed| typed.get(&name)) {
            Some(typed) if !field.secret => typed.as_str(),
            _ => known.unwrap_or_default(),
        };
        Input {
            label: field.label,
            help: field.help,
            html: match field.kind {
                _ if field.secret => "password",
                FieldKind::Url => "url",
                FieldKind::Number(..) => "number",
                FieldKind::Text | FieldKind::Addresses | FieldKind::Choice(_) => "text",
            },
            choices: match field.kind {
                FieldKind::Choice(choices) => choices,
                FieldKind::Text | FieldKind::Url | FieldKind::Number(..) | FieldKind::Addresses => {
                    &[]
                }
            },
            value: value.to_owned(),
            is_required: field.required && !kept,
            is_kept: kept,
            name,
        }
    };
    fields.iter().map(input).collect()
}

/// What somebody filled in. A secret that was left empty stays as it is, unless it is to go.
pub(super) fn values(fields: &[Field], sent: &Fields) -> Values {
    let filled = fields.iter().filter_map(|field| {
        let name = format!("{PREFIX}{}", field.name);
        let value = sent.get(&name)?.trim();
        let goes = sent.contains_key(&format!("without-{name}"));
        let stays = field.secret && value.is_empty() && !goes;
        (!stays).then_some((field.name, value))
    });
    filled.collect()
}

/// The name that a form gives.
pub(super) fn name(sent: &Fields) -> Result<DisplayName, Error> {
    let mut problems = Problems::default();
    let name = problems.parse("name", text(sent, "name"));
    problems.finish(name)
}

/// What a form says for a field of ours; nothing is empty.
pub(super) fn text<'a>(sent: &'a Fields, name: &str) -> &'a str {
    sent.get(name).map_or("", |text| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [Field; 2] = [
        Field {
            name: "url",
            label: "Address",
            help: "",
            required: true,
            secret: true,
            kind: FieldKind::Url,
        },
        Field {
            name: "room",
            label: "Room",
            help: "",
            required: false,
            secret: false,
            kind: FieldKind::Text,
        },
    ];

    fn sent(pairs: &[(&str, &str)]) -> Fields {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    #[test]
    fn secret_left_empty_stays_and_other_fields_are_emptied() {
        let filled = values(&FIELDS, &sent(&[("field-url", " "), ("field-room", " ")]));
        assert_eq!(filled.iter().collect::<Vec<_>>(), [("room", "")]);
        let pairs = [("field-url", ""), ("without-field-url", "on")];
        let filled = values(&FIELDS, &sent(&pairs));
        assert_eq!(filled.iter().collect::<Vec<_>>(), [("url", "")]);
    }

    #[test]
    fn secret_is_never_shown_again() {
        let stored: Values = [("url", "https://secret"), ("room", "ops")]
            .into_iter()
            .collect();
        let typed = sent(&[("field-url", "https://typed"), ("field-room", "dev")]);
        let shown = inputs(&FIELDS, &stored, &["url".to_owned()], Some(&typed));
        let values: Vec<_> = shown.iter().map(|input| input.value.as_str()).collect();
        assert_eq!(values, ["", "dev"]);
        assert!(shown[0].is_kept && !shown[0].is_required);
        assert_eq!(shown[0].html, "password");
    }
}
