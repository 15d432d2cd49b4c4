//! A project's targets.

use actix_web::{
    HttpResponse, delete, get, patch, post,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{entity::release, release::ReleaseState},
    field::{FolderPath, Problems, Slug},
    id::{DeploymentId, TargetId},
    lock::{
        self,
        covering::{Locks, Scope},
    },
    target::{
        self,
        entity::{Model, TargetKind},
        service::{NewTarget, TargetChange},
        strategy::Strategy,
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{locks::LockView, projects::present};
use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List},
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(list)
        .service(create)
        .service(get)
        .service(update)
        .service(delete)
        .service(releases);
}

/// A target.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetView {
    id: TargetId,
    slug: String,
    kind: TargetKind,
    path: String,
    /// Empty for a local target.
    hosts: Vec<String>,
    strategy: Strategy,
    /// Which branches a push deploys.
    auto_deploy: Option<String>,
    /// Why nothing starts on it; null unless it is locked. Its project or everything may be too.
    lock: Option<LockView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TargetView {
    fn new(row: Model, locks: &Locks) -> Self {
        let lock = locks.of(Scope::Target(row.project_id, row.id));
        Self {
            lock: lock.map(LockView::from),
            id: row.id,
            slug: row.slug,
            kind: row.kind,
            path: row.path,
            hosts: Vec::new(),
            strategy: serde_json::from_str(&row.strategy).unwrap_or_default(),
            auto_deploy: row.auto_deploy,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A project's targets.
#[utoipa::path(tag = "targets", params(("project" = String, Path)),
    responses((status = 200, body = List<TargetView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/targets")]
async fn list(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = target::service::list(&ctx, &actor, &key).await?;
    let locks = lock::service::active(&ctx).await?;
    Ok(HttpResponse::Ok().json(List::whole(
        rows.into_iter()
            .map(|row| TargetView::new(row, &locks))
            .collect(),
    )))
}

/// A new target.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTarget {
    slug: String,
    /// `local`: a folder on the worker's own machine.
    kind: TargetKind,
    /// The absolute path of the folder.
    path: String,
    /// Must be empty for a local target.
    #[serde(default)]
    hosts: Vec<String>,
    strategy: Option<Strategy>,
    /// Which branches a push deploys, such as `main` or `release/*`.
    auto_deploy: Option<String>,
}

/// Creates a target.
#[utoipa::path(tag = "targets", params(("project" = String, Path)), request_body = CreateTarget,
    responses((status = 201, body = TargetView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[post("/projects/{project}/targets")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    Body(body): Body<CreateTarget>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let slug = problems.parse::<Slug>("slug", &body.slug);
    let path = problems.parse::<FolderPath>("path", &body.path);
    let auto_deploy = body
        .auto_deploy
        .and_then(|text| problems.take("auto_deploy", target::strategy::check_filter(text)));
    if !body.hosts.is_empty() {
        problems.note(
            "hosts",
            "must be empty: a local target is on the worker's own machine",
        );
    }
    let strategy = body.strategy.unwrap_or_default();
    let strategy = problems.take("strategy", strategy.checked());
    let input = (|| {
        Some(NewTarget {
            slug: slug?,
            kind: body.kind,
            path: path?,
            strategy: serde_json::to_string(&strategy?).ok()?,
            auto_deploy,
        })
    })();
    let input = problems.finish(input)?;
    let row = target::service::create(&ctx, &actor, &key, input, db::now()).await?;
    let location = format!("/api/v1/projects/{key}/targets/{}", row.slug);
    Ok(HttpResponse::Created()
        .insert_header(("Location", location))
        .json(TargetView::new(row, &Locks::default())))
}

/// One target, by slug or id.
#[utoipa::path(tag = "targets", params(("project" = String, Path), ("target" = String, Path)),
    responses((status = 200, body = TargetView), (status = 401), (status = 404)))]
#[get("/projects/{project}/targets/{target}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let row = target::service::get(&ctx, &actor, &path.0, &path.1).await?;
    let locks = lock::service::active(&ctx).await?;
    Ok(HttpResponse::Ok().json(TargetView::new(row, &locks)))
}

/// Changes to a target; a field that is missing stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTarget {
    slug: Option<String>,
    path: Option<String>,
    strategy: Option<Strategy>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    auto_deploy: Option<Option<String>>,
}

/// Changes a target.
#[utoipa::path(tag = "targets", params(("project" = String, Path), ("target" = String, Path)),
    request_body = ChangeTarget, responses((status = 200, body = TargetView), (status = 401),
    (status = 403), (status = 404), (status = 409), (status = 422)))]
#[patch("/projects/{project}/targets/{target}")]
async fn update(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    Body(body): Body<ChangeTarget>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let strategy = body
        .strategy
        .and_then(|strategy| problems.take("strategy", strategy.checked()));
    let change = TargetChange {
        slug: body
            .slug
            .as_deref()
            .and_then(|text| problems.parse("slug", text)),
        path: body
            .path
            .as_deref()
            .and_then(|text| problems.parse("path", text)),
        strategy: strategy.and_then(|strategy| serde_json::to_string(&strategy).ok()),
        auto_deploy: body.auto_deploy.map(|text| {
            let filter = text.map(target::strategy::check_filter)?;
            problems.take("auto_deploy", filter)
        }),
    };
    let change = problems.finish(Some(change))?;
    let address = (path.0.as_str(), path.1.as_str());
    let row = target::service::update(&ctx, &actor, address, change, db::now()).await?;
    let locks = lock::service::active(&ctx).await?;
    Ok(HttpResponse::Ok().json(TargetView::new(row, &locks)))
}

/// Deletes a target with its history, unless something of it waits or runs. Its folder stays.
#[utoipa::path(tag = "targets", params(("project" = String, Path), ("target" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/projects/{project}/targets/{target}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    target::service::delete(&ctx, &actor, &path.0, &path.1).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A release that a target keeps.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseView {
    /// The deployment that made it, and its folder's name.
    deployment: DeploymentId,
    commit: Option<String>,
    state: ReleaseState,
    created_at: DateTime<Utc>,
}

impl From<release::Model> for ReleaseView {
    fn from(row: release::Model) -> Self {
        Self {
            deployment: row.deployment_id,
            commit: row.commit_id,
            state: row.state,
            created_at: row.created_at,
        }
    }
}

/// The releases that a target keeps, newest first.
#[utoipa::path(tag = "targets", params(("project" = String, Path), ("target" = String, Path)),
    responses((status = 200, body = List<ReleaseView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/targets/{target}/releases")]
async fn releases(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let rows = target::service::releases(&ctx, &actor, &path.0, &path.1).await?;
    Ok(HttpResponse::Ok().json(List::whole(
        rows.into_iter().map(ReleaseView::from).collect(),
    )))
}
