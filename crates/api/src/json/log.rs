//! A deployment's log: as a download, as JSON, and live.

use std::collections::HashMap;

use actix_web::{
    HttpRequest, HttpResponse, Responder, get,
    web::{Bytes, Data, Path, Query},
};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::Actor,
    ctx::Ctx,
    deployment::{
        self,
        line::{LogLine, Source},
        service::Detail,
    },
    error::Error,
    id::{DeploymentId, StepId},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{auth::SignedIn, error::Problem, sse, tail::Tails};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(download).service(events);
}

/// One line of output.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LineView {
    /// Its place in the log, from 1, rising by one.
    pub n: i64,
    /// The step that wrote it; null for the run itself.
    pub step: Option<String>,
    /// `output` for a command's own words, `slipway` for ours.
    pub stream: Source,
    /// When.
    pub time: Option<DateTime<Utc>>,
    /// The text, secrets masked.
    pub text: String,
}

/// The names of a deployment's steps, to show beside their lines.
pub type StepNames = HashMap<StepId, String>;

/// The names of a deployment's steps.
#[must_use]
pub fn step_names(detail: &Detail) -> StepNames {
    detail
        .steps
        .iter()
        .map(|step| (step.id, step.name.clone()))
        .collect()
}

impl LineView {
    /// A line as it is sent.
    #[must_use]
    pub fn new(line: LogLine, names: &StepNames) -> Self {
        Self {
            n: line.number,
            step: line.step.and_then(|id| names.get(&id).cloned()),
            stream: line.source,
            time: DateTime::from_timestamp_micros(line.at),
            text: line.text,
        }
    }
}

/// Which part of the log, and how.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Format {
    /// `text` or `json`.
    format: Option<String>,
    /// Only lines after this number.
    after: Option<i64>,
}

/// Part of a log as JSON.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogView {
    items: Vec<LineView>,
    /// The number to go on after; null when there is nothing more yet.
    next_after: Option<i64>,
}

/// The log: the whole of it as text, or some lines at a time as JSON (`?format=json&after=`).
#[utoipa::path(tag = "deployments", params(("id" = i64, Path), Format),
    responses((status = 200, content((String = "text/plain"), (LogView = "application/json"))),
    (status = 401), (status = 404), (status = 422)))]
#[get("/deployments/{id}/log")]
async fn download(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeploymentId>,
    format: Query<Format>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let after = format.after.unwrap_or_default();
    if after < 0 {
        return Err(Error::invalid("after", "must be 0 or more").into());
    }
    let detail = deployment::service::get(&ctx, &actor, id).await?;
    match format.format.as_deref() {
        Some("json") => {
            let names = step_names(&detail);
            let lines = deployment::service::log(&ctx, &actor, id, after).await?;
            let next_after = lines.last().map(|line| line.number);
            let items = lines
                .into_iter()
                .map(|line| LineView::new(line, &names))
                .collect();
            Ok(HttpResponse::Ok().json(LogView { items, next_after }))
        }
        None | Some("text") => {
            let name = format!("attachment; filename=\"deployment-{id}.log\"");
            Ok(HttpResponse::Ok()
                .content_type("text/plain; charset=utf-8")
                .insert_header(("Content-Disposition", name))
                .streaming(text(ctx, actor, id, after)))
        }
        Some(_) => Err(Error::invalid("format", "must be text or json").into()),
    }
}

/// The log page by page, so that the longest one needs no more memory than the shortest.
fn text(
    ctx: Data<Ctx>,
    actor: Actor,
    id: DeploymentId,
    after: i64,
) -> impl futures_util::Stream<Item = Result<Bytes, Error>> {
    stream::try_unfold((ctx, actor, after), move |(ctx, actor, after)| async move {
        let lines = deployment::service::log(&ctx, &actor, id, after).await?;
        let Some(last) = lines.last().map(|line| line.number) else {
            return Ok(None);
        };
        let mut page = String::new();
        for line in &lines {
            page.push_str(&line.text);
            page.push('\n');
        }
        Ok(Some((Bytes::from(page), (ctx, actor, last))))
    })
}

/// Where a live stream begins.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// Only lines after this number, unless `Last-Event-ID` says otherwise.
    after: Option<i64>,
}

/// Live events: `log` (with the line's number as event id), `step`, `status`, and `end` when
/// nothing more will come. `Last-Event-ID` or `after` continues after a line.
#[utoipa::path(tag = "deployments",
    params(("id" = i64, Path), ("Last-Event-ID" = Option<i64>, Header), Resume),
    responses((status = 200, content_type = "text/event-stream"), (status = 401), (status = 404),
    (status = 422)))]
#[get("/deployments/{id}/events")]
async fn events(
    ctx: Data<Ctx>,
    tails: Data<Tails>,
    SignedIn(actor): SignedIn,
    id: Path<DeploymentId>,
    (request, resume): (HttpRequest, Query<Resume>),
) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    let watching = tails.access().over(&actor).await?;
    deployment::service::get(&ctx, &actor, id).await?;
    let after = sse::resume_after(&request, resume.after)?;
    Ok(sse::follow(&ctx, &tails, (actor, watching), id, after))
}
