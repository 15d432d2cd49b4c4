//! Deployments: asking for one, looking, stopping, repeating.

use actix_web::{
    HttpRequest, HttpResponse, get, post,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{
        self,
        entity::step,
        queue_place::QueuePlace,
        service::{DeployInput, Detail, ListInput},
        status::Status,
        step::{Phase, StepStatus},
        trigger::Trigger,
    },
    error::Error,
    field::{IdempotencyKey, Problems},
    id::{DeploymentId, ProjectId, TargetId, UserId},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::{Asking, SignedIn},
    error::Problem,
    extract::{Body, List, limit},
    seal::Seal,
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(create)
        .service(list)
        .service(get)
        .service(cancel)
        .service(retry);
}

const LIST: &str = "deployments";

/// The project of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectRef {
    id: ProjectId,
    slug: String,
}

impl ProjectRef {
    pub(super) fn new(id: ProjectId, slug: String) -> Self {
        Self { id, slug }
    }
}

/// The target of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetRef {
    id: TargetId,
    slug: String,
}

impl TargetRef {
    pub(super) fn new(id: TargetId, slug: String) -> Self {
        Self { id, slug }
    }
}

/// Who asked for a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserRef {
    id: UserId,
    name: String,
}

/// One step of one run.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepView {
    phase: Phase,
    name: String,
    host: String,
    attempt: i64,
    status: StepStatus,
    exit_code: Option<i64>,
    signal: Option<i64>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<step::Model> for StepView {
    fn from(row: step::Model) -> Self {
        Self {
            phase: row.phase,
            name: row.name,
            host: row.host,
            attempt: row.attempt,
            status: row.status,
            exit_code: row.exit_code,
            signal: row.signal,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// A deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeploymentView {
    id: DeploymentId,
    project: ProjectRef,
    target: TargetRef,
    status: Status,
    /// A stable name of why it did not succeed.
    reason: Option<String>,
    /// The same in a sentence.
    reason_text: Option<String>,
    #[serde(rename = "ref")]
    ref_name: Option<String>,
    commit: Option<String>,
    commit_subject: Option<String>,
    commit_author: Option<String>,
    trigger: Trigger,
    note: Option<String>,
    /// Runs that were charged.
    attempt: i64,
    /// Workers that were lost while they ran it.
    interruptions: i64,
    /// Its place, while it is queued.
    queue: Option<QueuePlace>,
    requested_by: Option<UserRef>,
    retry_of: Option<DeploymentId>,
    superseded_by: Option<DeploymentId>,
    cancel_requested_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// When its next attempt may begin.
    not_before: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    pub(crate) steps: Vec<StepView>,
}

impl From<Detail> for DeploymentView {
    fn from(detail: Detail) -> Self {
        let Detail {
            row,
            project,
            target,
            steps,
            queue,
            requested_by,
        } = detail;
        Self {
            id: row.id,
            project: ProjectRef {
                id: project.id,
                slug: project.slug,
            },
            target: TargetRef {
                id: target.id,
                slug: target.slug,
            },
            status: row.status,
            reason: row.reason,
            reason_text: row.reason_text,
            ref_name: row.ref_name,
            commit: row.commit_id,
            commit_subject: row.commit_subject,
            commit_author: row.commit_author,
            trigger: row.trigger_kind,
            note: row.note,
            attempt: row.attempt,
            interruptions: row.interruptions,
            queue,
            requested_by: requested_by.map(|user| UserRef {
                id: user.id,
                name: user.name,
            }),
            retry_of: row.retry_of,
            superseded_by: row.superseded_by,
            cancel_requested_at: row.cancel_requested_at,
            created_at: row.created_at,
            not_before: Some(row.not_before)
                .filter(|at| *at > 0 && row.status == Status::Queued)
                .and_then(DateTime::from_timestamp_micros),
            started_at: row.started_at,
            finished_at: row.finished_at,
            steps: steps.into_iter().map(StepView::from).collect(),
        }
    }
}

/// A request to deploy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDeployment {
    /// The target's slug or id.
    target: String,
    /// A branch, a tag or a full commit id; the project's default branch otherwise.
    #[serde(rename = "ref")]
    ref_name: Option<String>,
    /// A remark, on one line.
    note: Option<String>,
}

/// Asks for a deployment. A request with the same `Idempotency-Key` header is answered with the
/// same deployment for at least a day, however often it comes.
#[utoipa::path(tag = "deployments",
    params(("project" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = CreateDeployment, responses((status = 202, body = DeploymentView),
    (status = 401), (status = 403), (status = 404), (status = 409), (status = 422),
    (status = 429), (status = 503)))]
#[post("/projects/{project}/deployments")]
async fn create(
    ctx: Data<Ctx>,
    asking: Asking,
    key: Path<String>,
    request: HttpRequest,
    body: Result<Body<CreateDeployment>, Problem>,
) -> Result<HttpResponse, Problem> {
    let input = match body.and_then(|Body(body)| wanted(body, &request)) {
        Ok(input) => input,
        // Nobody learns what is wrong who may not even ask.
        Err(problem) => {
            asking.actor(&ctx).await?;
            return Err(problem);
        }
    };
    let accepting = match &asking {
        Asking::Actor(actor) => deployment::service::request(&ctx, actor, &key, input).await,
        Asking::Bearer(bearer) => deployment::by_token::request(&ctx, bearer, &key, input).await,
    };
    accepted(accepting?)
}

fn wanted(body: CreateDeployment, request: &HttpRequest) -> Result<DeployInput, Problem> {
    let mut problems = Problems::default();
    let ref_name = problems.parse_optional("ref", body.ref_name.as_deref());
    let note = problems.parse_optional("note", body.note.as_deref());
    let idempotency = request.headers().get("Idempotency-Key").and_then(|value| {
        let text = value.to_str().unwrap_or_default();
        problems.parse::<IdempotencyKey>("Idempotency-Key", text)
    });
    let input = DeployInput {
        target: body.target,
        ref_name,
        note,
        key: idempotency,
    };
    Ok(problems.finish(Some(input))?)
}

fn accepted(detail: Detail) -> Result<HttpResponse, Problem> {
    let location = format!("/api/v1/deployments/{}", detail.row.id);
    let view = DeploymentView::from(detail);
    Ok(HttpResponse::Accepted()
        .insert_header(("Location", location))
        .json(view))
}

/// Which deployments to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only of this project, by slug or id.
    project: Option<String>,
    /// Only of this target of that project, by slug or id.
    target: Option<String>,
    /// Only in this state.
    status: Option<String>,
    /// How many, at most 200; 50 otherwise.
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Deployments that one may see, newest first.
#[utoipa::path(tag = "deployments", params(Filter),
    responses((status = 200, body = List<DeploymentView>), (status = 401), (status = 404),
    (status = 422)))]
#[get("/deployments")]
async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    SignedIn(actor): SignedIn,
    filter: Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let limit = limit(filter.limit)?;
    let status = filter.status.as_deref().map(|name| {
        Status::from_name(name).ok_or_else(|| Error::invalid("status", "is not a state"))
    });
    let before = seal.start(LIST, filter.cursor.as_deref());
    let input = ListInput {
        project: filter.project,
        target: filter.target,
        status: status.transpose()?,
        before: before?.map(DeploymentId),
        limit: limit + 1,
    };
    let details = deployment::service::list(&ctx, &actor, &input).await?;
    let cursor = (&**seal, LIST, |detail: &Detail| detail.row.id.0);
    Ok(HttpResponse::Ok().json(List::page(details, limit, cursor, DeploymentView::from)))
}

/// One deployment.
#[utoipa::path(tag = "deployments", params(("id" = i64, Path)),
    responses((status = 200, body = DeploymentView), (status = 401), (status = 404)))]
#[get("/deployments/{id}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    let detail = deployment::service::get(&ctx, &actor, id.into_inner()).await?;
    Ok(HttpResponse::Ok().json(DeploymentView::from(detail)))
}

/// Stops a deployment. One that runs ends once its processes have.
#[utoipa::path(tag = "deployments", params(("id" = i64, Path)),
    responses((status = 200, body = DeploymentView), (status = 401), (status = 403),
    (status = 404), (status = 409)))]
#[post("/deployments/{id}/cancel")]
async fn cancel(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    let detail = deployment::service::cancel(&ctx, &actor, id.into_inner(), db::now()).await?;
    Ok(HttpResponse::Ok().json(DeploymentView::from(detail)))
}

/// Asks for the same commit again, with a new deployment; repeating this answers the same one.
#[utoipa::path(tag = "deployments", params(("id" = i64, Path)),
    responses((status = 202, body = DeploymentView), (status = 401), (status = 403),
    (status = 404), (status = 409), (status = 429), (status = 503)))]
#[post("/deployments/{id}/retry")]
async fn retry(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    accepted(deployment::service::retry(&ctx, &actor, id.into_inner()).await?)
}
