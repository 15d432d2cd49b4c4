//! Projects.

use actix_web::{
    HttpResponse, delete, get, patch, post,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    field::Problems,
    id::ProjectId,
    lock::{
        self,
        covering::{Locks, Scope},
    },
    project::{
        self,
        entity::Model,
        policy::QueuePolicy,
        repository::RepositoryUrl,
        service::{NewProject, ProjectChange, check_attempts, check_delays},
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::locks::LockView;
use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List, Page, limit},
    seal::Seal,
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(list)
        .service(create)
        .service(get)
        .service(update)
        .service(delete);
}

const LIST: &str = "projects";

/// A project.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectView {
    id: ProjectId,
    slug: String,
    name: String,
    repository: Option<String>,
    default_branch: String,
    queue_policy: QueuePolicy,
    /// Most runs of a deployment, if not the configured number.
    retry_attempts: Option<i64>,
    /// Waits between runs in milliseconds, if not the configured ones.
    retry_delays: Option<Vec<u64>>,
    has_pipeline: bool,
    /// Why nothing of it starts; null unless it is locked. A target or everything may be locked too.
    lock: Option<LockView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl ProjectView {
    fn new(row: Model, locks: &Locks) -> Self {
        Self {
            lock: locks.of(Scope::Project(row.id)).map(LockView::from),
            id: row.id,
            slug: row.slug,
            name: row.name,
            repository: row.repository,
            default_branch: row.default_branch,
            queue_policy: row.queue_policy,
            retry_attempts: row.retry_attempts,
            retry_delays: row
                .retry_delays
                .and_then(|text| serde_json::from_str(&text).ok()),
            has_pipeline: row.pipeline_source.is_some(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Projects that one may see, in order of id.
#[utoipa::path(tag = "projects", params(Page),
    responses((status = 200, body = List<ProjectView>), (status = 401)))]
#[get("/projects")]
async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    SignedIn(actor): SignedIn,
    page: Query<Page>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(page.limit)?;
    let after = seal.start(LIST, page.cursor.as_deref())?;
    let after = ProjectId(after.unwrap_or_default());
    let rows = project::service::list(&ctx, &actor, after, limit + 1).await?;
    let cursor = (&**seal, LIST, |row: &Model| row.id.0);
    let locks = lock::service::active(&ctx).await?;
    let view = |row| ProjectView::new(row, &locks);
    Ok(HttpResponse::Ok().json(List::page(rows, limit, cursor, view)))
}

/// A new project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// 1 to 63 lower-case letters, digits and single hyphens between them.
    slug: String,
    /// The slug otherwise.
    name: Option<String>,
    /// https, ssh, or a local path that the configuration allows.
    repository: Option<String>,
    /// `main` otherwise.
    default_branch: Option<String>,
    #[serde(default)]
    queue_policy: QueuePolicy,
    /// 1 to 10.
    retry_attempts: Option<u32>,
    /// 1 to 10 waits in milliseconds, each at most an hour.
    retry_delays: Option<Vec<u64>>,
}

/// Creates a project; whoever does becomes its Owner.
#[utoipa::path(tag = "projects", request_body = CreateProject,
    responses((status = 201, body = ProjectView), (status = 401), (status = 403), (status = 409),
    (status = 422)))]
#[post("/projects")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateProject>,
) -> Result<HttpResponse, Problem> {
    let input = new_project(&ctx, body)?;
    let row = project::service::create(&ctx, &actor, input, db::now()).await?;
    let location = format!("/api/v1/projects/{}", row.slug);
    Ok(HttpResponse::Created()
        .insert_header(("Location", location))
        .json(ProjectView::new(row, &Locks::default())))
}

fn new_project(ctx: &Ctx, body: CreateProject) -> Result<NewProject, Problem> {
    let mut problems = Problems::default();
    let slug = problems.parse("slug", &body.slug);
    let name = problems.parse("name", body.name.as_deref().unwrap_or(&body.slug));
    let repository = body
        .repository
        .filter(|text| !text.is_empty())
        .and_then(|text| problems.take("repository", repository(ctx, &text)));
    let branch = body.default_branch.as_deref().unwrap_or("main");
    let default_branch = problems.parse("default_branch", branch);
    let retry_attempts = body
        .retry_attempts
        .and_then(|value| problems.take("retry_attempts", check_attempts(value)));
    let retry_delays = body
        .retry_delays
        .and_then(|value| problems.take("retry_delays", check_delays(value)));
    let input = (|| {
        Some(NewProject {
            slug: slug?,
            name: name?,
            repository,
            default_branch: default_branch?,
            queue_policy: body.queue_policy,
            retry_attempts,
            retry_delays,
        })
    })();
    Ok(problems.finish(input)?)
}

fn repository(ctx: &Ctx, text: &str) -> Result<RepositoryUrl, String> {
    RepositoryUrl::parse(text, &ctx.settings.repositories.local_paths)
}

/// One project, by slug or id.
#[utoipa::path(tag = "projects", params(("project" = String, Path)),
    responses((status = 200, body = ProjectView), (status = 401), (status = 404)))]
#[get("/projects/{project}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = slipway_core::access::Permission::ViewProject;
    let project = project::service::open(&ctx, &actor, &key, view).await?;
    let locks = lock::service::active(&ctx).await?;
    Ok(HttpResponse::Ok().json(ProjectView::new(project.row, &locks)))
}

/// Changes to a project; a field that is missing stays, null takes an optional one away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProject {
    slug: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    repository: Option<Option<String>>,
    default_branch: Option<String>,
    queue_policy: Option<QueuePolicy>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    retry_attempts: Option<Option<u32>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<u64>>)]
    retry_delays: Option<Option<Vec<u64>>>,
}

/// Tells a field that is null from one that is missing.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Changes a project.
#[utoipa::path(tag = "projects", params(("project" = String, Path)), request_body = ChangeProject,
    responses((status = 200, body = ProjectView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[patch("/projects/{project}")]
async fn update(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    Body(body): Body<ChangeProject>,
) -> Result<HttpResponse, Problem> {
    let change = change(&ctx, body)?;
    let row = project::service::update(&ctx, &actor, &key, change, db::now()).await?;
    let locks = lock::service::active(&ctx).await?;
    Ok(HttpResponse::Ok().json(ProjectView::new(row, &locks)))
}

fn change(ctx: &Ctx, body: ChangeProject) -> Result<ProjectChange, Problem> {
    let mut problems = Problems::default();
    let change = ProjectChange {
        slug: body
            .slug
            .as_deref()
            .and_then(|text| problems.parse("slug", text)),
        name: body
            .name
            .as_deref()
            .and_then(|text| problems.parse("name", text)),
        repository: body.repository.map(|text| {
            let text = text.filter(|text| !text.is_empty())?;
            problems.take("repository", repository(ctx, &text))
        }),
        default_branch: body
            .default_branch
            .as_deref()
            .and_then(|text| problems.parse("default_branch", text)),
        queue_policy: body.queue_policy,
        retry_attempts: body.retry_attempts.map(|value| {
            value.and_then(|value| problems.take("retry_attempts", check_attempts(value)))
        }),
        retry_delays: body.retry_delays.map(|value| {
            value.and_then(|value| problems.take("retry_delays", check_delays(value)))
        }),
    };
    Ok(problems.finish(Some(change))?)
}

/// Deletes a project with its history, unless something of it waits or runs.
#[utoipa::path(tag = "projects", params(("project" = String, Path)), responses((status = 204),
    (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/projects/{project}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    project::service::delete(&ctx, &actor, &key).await?;
    Ok(HttpResponse::NoContent().finish())
}
