//! As much of an OpenAPI document as the reference shows.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) paths: BTreeMap<String, PathItem>,
    #[serde(default)]
    pub(super) components: Components,
}

/// What can be done with one path.
#[derive(Debug, Deserialize)]
pub(super) struct PathItem {
    pub(super) get: Option<Operation>,
    pub(super) post: Option<Operation>,
    pub(super) put: Option<Operation>,
    pub(super) patch: Option<Operation>,
    pub(super) delete: Option<Operation>,
}

/// One method of one path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    #[serde(default)]
    pub(super) tags: Vec<String>,
    #[serde(default)]
    pub(super) summary: String,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
    pub(super) request_body: Option<Content>,
    #[serde(default)]
    pub(super) responses: BTreeMap<String, Content>,
}

/// A part of a path or query, or a header.
#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(rename = "in")]
    pub(super) place: String,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) schema: Schema,
}

/// A body, in one or more media types.
#[derive(Debug, Deserialize)]
pub(super) struct Content {
    #[serde(default)]
    pub(super) content: BTreeMap<String, Media>,
}

/// A body in one media type.
#[derive(Debug, Deserialize)]
pub(super) struct Media {
    #[serde(default)]
    pub(super) schema: Schema,
}

/// The named shapes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Components {
    #[serde(default)]
    pub(super) schemas: BTreeMap<String, Schema>,
}

/// A shape.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(rename = "$ref")]
    pub(super) reference: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<OneOrMore>,
    pub(super) format: Option<String>,
    pub(super) description: Option<String>,
    pub(super) items: Option<Box<Self>>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Self>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    #[serde(default, rename = "enum")]
    pub(super) choices: Vec<String>,
    #[serde(default)]
    pub(super) one_of: Vec<Self>,
}

/// A type, or several of which each is possible.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}
