//! One source of settings: a file, or the environment.
//!
//! A layer holds converted values by full name and the problems met on the way; it knows nothing of
//! the layers above and below.

use std::collections::{BTreeMap, BTreeSet};

use config::{Map, Value, ValueKind};

use super::{
    convert::{Mismatch, at, convert},
    expand::expand,
    problem::Problem,
    schema::{Kind, Schema, join},
    suggest::nearest,
};

const PREFIX: &str = "SLIPWAY__";

/// What one source says.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Values by full name.
    pub(super) values: BTreeMap<String, Value>,
    /// Sections that the source has, be they empty.
    pub(super) sections: BTreeSet<String>,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
}

impl Layer {
    /// Reads a file's content; `origin` is its name in messages.
    pub(super) fn from_file(
        schema: &Schema,
        origin: &str,
        mut content: Map<String, Value>,
        env: &BTreeMap<String, String>,
    ) -> Self {
        let mut layer = Self::default();
        for (name, value) in &mut content {
            layer.expand(origin, name, value, env);
        }
        layer.section(schema, origin, "", &content);
        layer
    }

    /// Reads the variables that begin with `SLIPWAY__`.
    pub(super) fn from_environment(schema: &Schema, env: &BTreeMap<String, String>) -> Self {
        let mut layer = Self::default();
        for (variable, value) in env {
            if let Some(path) = variable.strip_prefix(PREFIX) {
                let key = path.to_lowercase().replace("__", ".");
                layer.variable(schema, variable, &key, value);
            } else if variable.starts_with("SLIPWAY_") && variable.contains("__") {
                let nearest = variable.replacen("SLIPWAY_", PREFIX, 1);
                layer.problems.push(Problem::Unknown {
                    key: variable.clone(),
                    origin: "the environment".to_owned(),
                    nearest: Some(nearest),
                });
            }
        }
        layer
    }

    fn expand(
        &mut self,
        origin: &str,
        key: &str,
        value: &mut Value,
        env: &BTreeMap<String, String>,
    ) {
        if let ValueKind::String(text) = &value.kind {
            match expand(text, env) {
                Ok(text) => value.kind = text.into(),
                Err(error) => self.problems.push(Problem::Reference {
                    key: key.to_owned(),
                    origin: origin.to_owned(),
                    error,
                }),
            }
        } else if let ValueKind::Array(items) = &mut value.kind {
            for (index, item) in items.iter_mut().enumerate() {
                self.expand(origin, &format!("{key}[{index}]"), item, env);
            }
        } else if let ValueKind::Table(table) = &mut value.kind {
            for (name, inner) in table {
                self.expand(origin, &join(key, name), inner, env);
            }
        }
    }

    fn section(
        &mut self,
        schema: &Schema,
        origin: &str,
        section: &str,
        table: &Map<String, Value>,
    ) {
        for (name, value) in table {
            let key = join(section, name);
            match (schema.kind(&key), &value.kind) {
                (None, _) => self.unknown(schema, origin, &key),
                (Some(Kind::Section), ValueKind::Nil) => {}
                (Some(Kind::Section), ValueKind::Table(inner)) => {
                    self.sections.insert(key.clone());
                    self.section(schema, origin, &key, inner);
                }
                (Some(kind), given) => self.set(kind, &key, &at(Some(origin), given.clone())),
            }
        }
    }

    fn variable(&mut self, schema: &Schema, variable: &str, key: &str, text: &str) {
        let origin = format!("the environment variable {variable}");
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let in_map = schema.kind(section) == Some(Kind::TextMap);
        let Some(kind) = schema.kind(key).or(in_map.then_some(Kind::OptionalText)) else {
            return self.unknown(schema, &origin, key);
        };
        // Container tools pass on variables that nobody set as empty ones.
        if text.is_empty() && (kind != Kind::OptionalText || in_map) {
            return;
        }
        if in_map {
            let entry = Map::from([(name.to_owned(), at(Some(&origin), text))]);
            return self.set(Kind::TextMap, section, &at(Some(&origin), entry));
        }
        if !text.is_empty() {
            self.sections.insert(section.to_owned());
        }
        self.set(kind, key, &at(Some(&origin), text));
    }

    fn set(&mut self, kind: Kind, key: &str, value: &Value) {
        match convert(kind, key, value) {
            Ok(Some(value)) => put(&mut self.values, key, value),
            Ok(None) => {}
            Err(Mismatch {
                key,
                expected,
                found,
            }) => self.problems.push(Problem::Type {
                key,
                origin: value.origin().unwrap_or_default().to_owned(),
                expected: expected.to_owned(),
                found,
            }),
        }
    }

    fn unknown(&mut self, schema: &Schema, origin: &str, key: &str) {
        self.problems.push(Problem::Unknown {
            key: key.to_owned(),
            origin: origin.to_owned(),
            nearest: nearest(key, schema.keys()).map(str::to_owned),
        });
    }
}

/// Sets a value over what is there; maps are merged by name.
pub(super) fn put(values: &mut BTreeMap<String, Value>, key: &str, value: Value) {
    if let Some(below) = values.get_mut(key)
        && let (ValueKind::Table(below), ValueKind::Table(above)) = (&mut below.kind, &value.kind)
    {
        below.extend(above.clone());
    } else {
        values.insert(key.to_owned(), value);
    }
}
