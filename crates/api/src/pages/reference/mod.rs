//! The API's reference, rendered from the same document that programs read.

mod document;

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;
use slipway_core::error::Error;

use self::document::{Content, Document, OneOrMore, Operation, Parameter, Schema};
use super::{
    frame::{Frame, Section, html},
    visitor::Visitor,
};
use crate::{error::Problem, openapi};

#[derive(Template)]
#[template(path = "reference.html")]
struct ReferencePage {
    frame: Frame,
    groups: Vec<Group>,
    shapes: Vec<Shape>,
}

/// The operations of one tag.
struct Group {
    tag: String,
    entries: Vec<Entry>,
}

/// One operation.
struct Entry {
    method: &'static str,
    path: String,
    about: Prose,
    parameters: Vec<Field>,
    bodies: Vec<Body>,
    answers: Vec<Answer>,
}

/// A parameter of an operation, or a field of a shape.
struct Field {
    name: String,
    place: String,
    kind: Kind,
    is_required: bool,
    about: Prose,
}

/// What an operation takes, in one media type.
struct Body {
    media: String,
    kind: Kind,
    fields: Vec<Field>,
}

/// What an operation answers with one status.
struct Answer {
    status: String,
    kinds: Vec<Kind>,
}

/// A named shape.
struct Shape {
    name: String,
    about: Prose,
    kind: Kind,
    fields: Vec<Field>,
    choices: Vec<String>,
}

/// A type in words, with the named shape that it is about.
#[derive(Default)]
struct Kind {
    before: &'static str,
    plain: String,
    shape: Option<String>,
    after: &'static str,
}

/// Text in which every second piece was between backticks.
#[derive(Default)]
struct Prose(Vec<(bool, String)>);

impl From<&str> for Prose {
    fn from(text: &str) -> Self {
        let pieces = text.split('`').zip([false, true].into_iter().cycle());
        Self(
            pieces
                .map(|(text, is_code)| (is_code, text.to_owned()))
                .collect(),
        )
    }
}

/// The reference. Like the document itself it is for everybody.
pub(super) async fn show(
    request: HttpRequest,
    document: Data<openapi::Document>,
) -> Result<HttpResponse, Problem> {
    let visitor = Visitor::identify(&request).await.ok();
    let document: Document = serde_json::from_str(&document.0).map_err(Error::from)?;
    let page = ReferencePage {
        frame: visitor.map_or_else(Frame::public, |it| Frame::of(&it, Section::Elsewhere)),
        groups: groups(&document),
        shapes: document.components.schemas.iter().map(shape).collect(),
    };
    html(HttpResponse::Ok(), &page)
}

fn groups(document: &Document) -> Vec<Group> {
    let mut groups: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for (path, item) in &document.paths {
        let operations = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let tag = operation.tags.first().map_or("other", String::as_str);
            let entry = entry(document, method, path, operation);
            groups.entry(tag.to_owned()).or_default().push(entry);
        }
    }
    let groups = groups.into_iter();
    groups
        .map(|(tag, entries)| Group { tag, entries })
        .collect()
}

fn entry(document: &Document, method: &'static str, path: &str, operation: &Operation) -> Entry {
    let about = [
        Some(operation.summary.as_str()),
        operation.description.as_deref(),
    ];
    let about: Vec<&str> = about.into_iter().flatten().collect();
    Entry {
        method,
        path: path.to_owned(),
        about: about.join(" ").as_str().into(),
        parameters: operation.parameters.iter().map(parameter).collect(),
        bodies: operation
            .request_body
            .as_ref()
            .map_or_else(Vec::new, |it| bodies(document, it)),
        answers: operation.responses.iter().map(answer).collect(),
    }
}

fn parameter(parameter: &Parameter) -> Field {
    Field {
        name: parameter.name.clone(),
        place: parameter.place.clone(),
        kind: kind(&parameter.schema),
        is_required: parameter.required,
        about: parameter.description.as_deref().unwrap_or_default().into(),
    }
}

fn bodies(document: &Document, content: &Content) -> Vec<Body> {
    let bodies = content.content.iter().map(|(media, body)| {
        let schemas = &document.components.schemas;
        let named = name(&body.schema).and_then(|name| schemas.get(name));
        Body {
            media: media.clone(),
            kind: kind(&body.schema),
            fields: fields(named.unwrap_or(&body.schema)),
        }
    });
    bodies.collect()
}

fn answer((status, content): (&String, &Content)) -> Answer {
    Answer {
        status: status.clone(),
        kinds: content
            .content
            .values()
            .map(|body| kind(&body.schema))
            .collect(),
    }
}

fn shape((name, schema): (&String, &Schema)) -> Shape {
    Shape {
        name: name.clone(),
        about: schema.description.as_deref().unwrap_or_default().into(),
        kind: kind(schema),
        fields: fields(schema),
        choices: schema.choices.clone(),
    }
}

fn fields(schema: &Schema) -> Vec<Field> {
    let fields = schema.properties.iter().map(|(name, property)| {
        // A property that may be null keeps its description inside.
        let inner = property
            .one_of
            .iter()
            .find_map(|one| one.description.as_deref());
        let about = property.description.as_deref().or(inner);
        Field {
            name: name.clone(),
            place: String::new(),
            kind: kind(property),
            is_required: schema.required.contains(name),
            about: about.unwrap_or_default().into(),
        }
    });
    fields.collect()
}

/// The named shape that a schema stands for.
fn name(schema: &Schema) -> Option<&str> {
    schema.reference.as_deref()?.rsplit('/').next()
}

fn kind(schema: &Schema) -> Kind {
    if let Some(name) = name(schema) {
        return Kind {
            shape: Some(name.to_owned()),
            ..Kind::default()
        };
    }
    if let Some(one) = schema.one_of.iter().find(|one| !is_null(one)) {
        let is_optional = schema.one_of.iter().any(is_null);
        return Kind {
            after: if is_optional { " or null" } else { "" },
            ..kind(one)
        };
    }
    if let Some(items) = &schema.items {
        let after = if is_optional(schema) { " or null" } else { "" };
        return Kind {
            before: "list of ",
            after,
            ..kind(items)
        };
    }
    let plain = match (&schema.format, plain(schema)) {
        (Some(format), "string") => format.clone(),
        (_, plain) => plain.to_owned(),
    };
    Kind {
        plain,
        after: if is_optional(schema) { " or null" } else { "" },
        ..Kind::default()
    }
}

fn plain(schema: &Schema) -> &str {
    match &schema.kind {
        None => "anything",
        Some(OneOrMore::One(kind)) => kind,
        Some(OneOrMore::More(kinds)) => {
            let kind = kinds.iter().find(|kind| *kind != "null");
            kind.map_or("null", String::as_str)
        }
    }
}

fn is_null(schema: &Schema) -> bool {
    matches!(&schema.kind, Some(OneOrMore::One(kind)) if kind == "null")
}

fn is_optional(schema: &Schema) -> bool {
    matches!(&schema.kind, Some(OneOrMore::More(kinds)) if kinds.iter().any(|it| it == "null"))
}
