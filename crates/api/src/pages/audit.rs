//! The audit trail, for those who operate Slipway.

use actix_web::{
    HttpResponse,
    web::{Data, Query},
};
use askama::Template;
use chrono::Utc;
use serde::Deserialize;
use slipway_core::{
    audit::{
        entity::Model,
        service::{self, Filter},
    },
    ctx::Ctx,
    id::AuditId,
};
use url::form_urlencoded;

use super::{
    frame::{Frame, Section, html},
    moment::Moment,
    table::Pages,
    visitor::Visitor,
};
use crate::{error::Problem, seal::Seal};

/// Rows of the page.
const PAGE: usize = 50;
const LIST: &str = "audit-page";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages.get("/audit", show);
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    action: String,
    text: String,
    rows: Vec<Row>,
    is_first: bool,
    first: String,
    next: Option<String>,
}

struct Row {
    id: AuditId,
    at: Moment,
    who: String,
    from: String,
    action: String,
    what: String,
    before: Option<String>,
    after: Option<String>,
}

impl Row {
    fn new(row: Model, now: chrono::DateTime<Utc>) -> Self {
        let who = match (row.actor.is_empty(), row.credential.as_str()) {
            (false, "session") => row.actor,
            (false, credential) => format!("{} ({credential})", row.actor),
            (true, "console") => "Command line".to_owned(),
            (true, _) => "Slipway".to_owned(),
        };
        Self {
            id: row.id,
            at: Moment::new(row.at, now),
            who,
            from: row.address,
            action: row.action,
            what: format!("{} {}", row.object_kind, row.object),
            before: row.before,
            after: row.after,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    action: String,
    #[serde(default)]
    text: String,
    cursor: Option<String>,
}

async fn show(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let Wanted {
        action,
        text,
        cursor,
    } = wanted.into_inner();
    let before = seal.start(LIST, cursor.as_deref())?;
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = Filter {
        action: given(&action),
        text: given(&text),
        ..Filter::default()
    };
    let (from, limit) = (before.map(AuditId), PAGE as u64 + 1);
    let mut rows = service::list(&ctx, &visitor.actor, &filter, from, limit).await?;
    let is_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().filter(|_| is_more);
    let next = last.map(|last| seal.cursor(LIST, last.id.0));
    let now = Utc::now();
    let page = AuditPage {
        frame: Frame::of(&visitor, Section::Audit),
        rows: rows.into_iter().map(|row| Row::new(row, now)).collect(),
        is_first: before.is_none(),
        first: query(&action, &text, None),
        next: next.map(|cursor| query(&action, &text, Some(&cursor))),
        action,
        text,
    };
    html(HttpResponse::Ok(), &page)
}

fn query(action: &str, text: &str, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let pairs = [("action", action), ("text", text)];
    query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    query.finish()
}
