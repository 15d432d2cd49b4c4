//! The list of deployments, and one of them.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path, Query},
};
use askama::Template;
use chrono::Utc;
use serde::Deserialize;
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    db,
    deployment::{
        self,
        service::{Detail, ListInput},
        status::Status,
    },
    error::Error,
    id::DeploymentId,
    project,
};

use super::{
    frame::{Frame, Section, html, see_other},
    output::{self, Output},
    overview::Overview,
    row::{Row, label},
    table::Pages,
    trouble,
    visitor::{Button, Sent, Visitor},
};
use crate::{error::Problem, seal::Seal};

/// Rows of the list.
const PAGE: usize = 50;
const LIST: &str = "deployments";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/deployments", list)
        .get("/deployments/{id}", show)
        .get("/deployments/{id}/fragment", fragment)
        .post("/deployments/{id}/cancel", cancel)
        .post("/deployments/{id}/retry", retry);
}

#[derive(Template)]
#[template(path = "deployments/list.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    /// The project that the list is restricted to.
    project: Option<project::entity::Model>,
    choices: Vec<Choice>,
    show_project: bool,
    is_first: bool,
    /// The query of the first page, and of the one after this.
    first: String,
    next: Option<String>,
}

/// A state that the list can be restricted to.
struct Choice {
    label: &'static str,
    query: String,
    is_chosen: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Filter {
    project: Option<String>,
    status: Option<String>,
    cursor: Option<String>,
}

async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    filter: Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let status = filter.status.as_deref().map(|name| {
        Status::from_name(name).ok_or_else(|| Error::invalid("status", "is not a state"))
    });
    let status = status.transpose()?;
    let before = seal.start(LIST, filter.cursor.as_deref())?;
    let project = match &filter.project {
        Some(key) => {
            let view = Permission::ViewProject;
            Some(
                project::service::open(&ctx, &visitor.actor, key, view)
                    .await?
                    .row,
            )
        }
        None => None,
    };
    let input = ListInput {
        project: filter.project.clone(),
        status,
        before: before.map(DeploymentId),
        limit: PAGE as u64 + 1,
        ..ListInput::default()
    };
    let mut details = deployment::service::list(&ctx, &visitor.actor, &input).await?;
    let is_more = details.len() > PAGE;
    details.truncate(PAGE);
    let slug = project.as_ref().map(|project| project.slug.as_str());
    let last = details.last().filter(|_| is_more);
    let next = last.map(|last| seal.cursor(LIST, last.row.id.0));
    let now = Utc::now();
    let page = ListPage {
        frame: Frame::of(&visitor, Section::Deployments),
        rows: details.iter().map(|detail| Row::new(detail, now)).collect(),
        choices: choices(slug, status),
        show_project: project.is_none(),
        is_first: before.is_none(),
        first: query(slug, status, None),
        next: next.map(|cursor| query(slug, status, Some(&cursor))),
        project,
    };
    html(HttpResponse::Ok(), &page)
}

fn choices(project: Option<&str>, chosen: Option<Status>) -> Vec<Choice> {
    let all = Choice {
        label: "All",
        query: query(project, None, None),
        is_chosen: chosen.is_none(),
    };
    let states = Status::ALL.into_iter().map(|status| Choice {
        label: label(status),
        query: query(project, Some(status), None),
        is_chosen: chosen == Some(status),
    });
    std::iter::once(all).chain(states).collect()
}

/// A query of this list. Slugs, states and cursors need no encoding.
fn query(project: Option<&str>, status: Option<Status>, cursor: Option<&str>) -> String {
    let status = status.map(Status::as_str);
    let parts = [("project", project), ("status", status), ("cursor", cursor)];
    let parts = parts
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

#[derive(Template)]
#[template(path = "deployments/show.html")]
struct ShowPage {
    frame: Frame,
    view: Overview,
    output: Output,
    notice: Option<Notice>,
}

/// Why a button had no effect.
struct Notice {
    title: &'static str,
    detail: String,
}

#[derive(Template)]
#[template(path = "deployments/fragment.html")]
struct FragmentPage {
    frame: Frame,
    view: Overview,
}

async fn show(
    ctx: Data<Ctx>,
    visitor: Visitor,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    page(&ctx, &visitor, *id, None).await
}

async fn page(
    ctx: &Ctx,
    visitor: &Visitor,
    id: DeploymentId,
    refused: Option<Problem>,
) -> Result<HttpResponse, Problem> {
    let detail = deployment::service::get(ctx, &visitor.actor, id).await?;
    // The log is read after the state: a deployment that had ended has all its lines.
    let output = output::read(ctx, visitor, id).await?;
    let page = ShowPage {
        frame: Frame::of(visitor, Section::Deployments),
        view: overview(ctx, visitor, &detail).await?,
        output,
        notice: refused.as_ref().map(|problem| Notice {
            title: trouble::title(problem.status()),
            detail: problem.detail().to_owned(),
        }),
    };
    let builder = refused.map_or_else(HttpResponse::Ok, |problem| problem.builder());
    html(builder, &page)
}

async fn overview(ctx: &Ctx, visitor: &Visitor, detail: &Detail) -> Result<Overview, Problem> {
    let actor = &visitor.actor;
    let view = Permission::ViewProject;
    let seen = project::service::open_by_id(ctx, actor, detail.project.id, view).await?;
    let may_deploy = actor.may(Permission::Deploy, Some((seen.row.id, seen.role)));
    Ok(Overview::new(detail, may_deploy, Utc::now()))
}

/// The parts of the page that change, for its script.
async fn fragment(
    ctx: Data<Ctx>,
    visitor: Visitor,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    let detail = deployment::service::get(&ctx, &visitor.actor, *id).await?;
    let page = FragmentPage {
        frame: Frame::of(&visitor, Section::Deployments),
        view: overview(&ctx, &visitor, &detail).await?,
    };
    html(HttpResponse::Ok(), &page)
}

async fn cancel(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    let outcome = deployment::service::cancel(&ctx, &sent.visitor.actor, *id, db::now()).await;
    done(&ctx, &sent.visitor, *id, outcome).await
}

async fn retry(
    ctx: Data<Ctx>,
    sent: Sent<Button>,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    let outcome = deployment::service::retry(&ctx, &sent.visitor.actor, *id).await;
    done(&ctx, &sent.visitor, *id, outcome).await
}

/// Goes on to the deployment that came of it; what can pass is said on the page it came from.
async fn done(
    ctx: &Ctx,
    visitor: &Visitor,
    id: DeploymentId,
    outcome: Result<Detail, Error>,
) -> Result<HttpResponse, Problem> {
    let problem = match outcome {
        Ok(detail) => return Ok(see_other(format!("/deployments/{}", detail.row.id))),
        Err(error) => Problem::from(error),
    };
    if may_pass(problem.status()) {
        page(ctx, visitor, id, Some(problem)).await
    } else {
        Err(problem)
    }
}

/// Whether the visitor can do something about a problem from the page they are on.
pub(super) fn may_pass(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::CONFLICT
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
    )
}
