//! Which settings exist and of what type, read off the annotated default file.
//!
//! So a setting is declared once, with its documentation. Ranges are `check`'s concern.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

/// The type of a setting, told by its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// More settings by name.
    Section,
    /// A text that always has a value.
    Text,
    /// A text that may be left out.
    OptionalText,
    /// A whole number.
    Integer,
    /// True or false.
    Flag,
    /// Texts.
    TextList,
    /// Whole numbers.
    IntegerList,
    /// Texts by freely chosen names.
    TextMap,
}

impl Kind {
    /// The kind of one item of a list.
    pub(super) fn item(self) -> Self {
        if self == Self::IntegerList {
            Self::Integer
        } else {
            Self::Text
        }
    }

    /// What a value of this kind is called in a message.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Section | Self::TextMap => "a section",
            Self::Text | Self::OptionalText => "a text",
            Self::Integer => "a whole number",
            Self::Flag => "true or false",
            Self::TextList => "a list of texts",
            Self::IntegerList => "a list of whole numbers",
        }
    }
}

/// The settings that exist, by full name.
#[derive(Debug)]
pub(super) struct Schema(BTreeMap<String, Kind>);

impl Schema {
    /// Reads names and types off the defaults.
    pub(super) fn of(defaults: &config::Map<String, Value>) -> Self {
        let mut kinds = BTreeMap::new();
        collect("", defaults, &mut kinds);
        Self(kinds)
    }

    /// The type of a setting, if it exists.
    pub(super) fn kind(&self, key: &str) -> Option<Kind> {
        self.0.get(key).copied()
    }

    /// All full names.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The full name of a setting in a section; the top has the empty name.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

fn collect(section: &str, table: &config::Map<String, Value>, kinds: &mut BTreeMap<String, Kind>) {
    for (name, value) in table {
        let key = join(section, name);
        if let ValueKind::Table(inner) = &value.kind {
            collect(&key, inner, kinds);
        }
        kinds.insert(key, kind_of(&value.kind));
    }
}

fn kind_of(value: &ValueKind) -> Kind {
    match value {
        ValueKind::Nil => Kind::OptionalText,
        ValueKind::Boolean(_) => Kind::Flag,
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            Kind::Integer
        }
        ValueKind::Float(_) | ValueKind::String(_) => Kind::Text,
        ValueKind::Table(table) if table.is_empty() => Kind::TextMap,
        ValueKind::Table(_) => Kind::Section,
        ValueKind::Array(items) => match items.first().map(|item| kind_of(&item.kind)) {
            Some(Kind::Integer) => Kind::IntegerList,
            _ => Kind::TextList,
        },
    }
}
