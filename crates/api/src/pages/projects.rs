//! The front page: the projects that one may see.

use std::collections::HashMap;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Query},
};
use askama::Template;
use chrono::Utc;
use serde::Deserialize;
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    deployment::{self, service::ListInput},
    error::Result,
    id::ProjectId,
    project::{self, entity::Model},
};

use super::{
    frame::{Frame, Section, html},
    row::Row,
    table::Pages,
    visitor::Visitor,
};
use crate::{error::Problem, seal::Seal};

/// Projects of one page.
const PAGE: usize = 50;
/// Deployments among which the newest of each project is looked for first.
const RECENT: u64 = 100;
const LIST: &str = "projects";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages.get("/", list);
}

#[derive(Template)]
#[template(path = "projects/list.html")]
struct ListPage {
    frame: Frame,
    projects: Vec<Card>,
    may_create: bool,
    is_first: bool,
    next: Option<String>,
    origin: String,
}

struct Card {
    slug: String,
    name: String,
    repository: Option<String>,
    last: Option<Row>,
}

#[derive(Debug, Deserialize)]
struct Start {
    cursor: Option<String>,
}

async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    start: Query<Start>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let after = seal.start(LIST, start.cursor.as_deref())?;
    let from = ProjectId(after.unwrap_or_default());
    let mut rows = project::service::list(&ctx, &visitor.actor, from, PAGE as u64 + 1).await?;
    let is_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| is_more);
    let page = ListPage {
        frame: Frame::of(&visitor, Section::Projects),
        next: next.map(|last| seal.cursor(LIST, last.id.0)),
        projects: cards(&ctx, &visitor, rows).await?,
        may_create: visitor.actor.may(Permission::CreateProject, None),
        is_first: after.is_none(),
        origin: origin(&ctx, &request),
    };
    html(HttpResponse::Ok(), &page)
}

/// Our own address, as a command line would be given it.
pub(super) fn origin(ctx: &Ctx, request: &HttpRequest) -> String {
    let configured = ctx.settings.server.public_url.as_deref();
    configured.map_or_else(
        || format!("http://{}", request.connection_info().host()),
        |url| url.trim_end_matches('/').to_owned(),
    )
}

async fn cards(ctx: &Ctx, visitor: &Visitor, projects: Vec<Model>) -> Result<Vec<Card>> {
    let now = Utc::now();
    let recent = ListInput {
        limit: RECENT,
        ..ListInput::default()
    };
    let mut newest = HashMap::new();
    if !projects.is_empty() {
        for detail in deployment::service::list(ctx, &visitor.actor, &recent).await? {
            newest.entry(detail.project.id).or_insert(detail);
        }
    }
    let mut cards = Vec::with_capacity(projects.len());
    for project in projects {
        let last = match newest.remove(&project.id) {
            Some(detail) => Some(detail),
            None => {
                let only = ListInput {
                    project: Some(project.slug.clone()),
                    limit: 1,
                    ..ListInput::default()
                };
                deployment::service::list(ctx, &visitor.actor, &only)
                    .await?
                    .pop()
            }
        };
        cards.push(Card {
            last: last.map(|detail| Row::new(&detail, now)),
            slug: project.slug,
            name: project.name,
            repository: project.repository,
        });
    }
    Ok(cards)
}
