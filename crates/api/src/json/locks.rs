//! Locks on a target, on a project, or on everything: what they cover waits.

use actix_web::{
    HttpResponse, delete, get, put,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::Actor,
    ctx::Ctx,
    db,
    field::Problems,
    id::UserId,
    lock::{
        covering::Lock,
        service::{self, Address, LockInput},
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{auth::SignedIn, error::Problem, extract::Body};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(get_all)
        .service(put_all)
        .service(lift_all)
        .service(get_project)
        .service(put_project)
        .service(lift_project)
        .service(get_target)
        .service(put_target)
        .service(lift_target);
}

/// A lock.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockView {
    /// `everything`, `project` or `target`.
    scope: &'static str,
    /// Why.
    reason: String,
    /// Who locked; null once the account is gone.
    by: Option<LockedBy>,
    created_at: DateTime<Utc>,
    /// When it ends by itself; null until somebody lifts it.
    expires_at: Option<DateTime<Utc>>,
}

/// Who locked.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockedBy {
    id: UserId,
    name: String,
}

impl From<&Lock> for LockView {
    fn from(lock: &Lock) -> Self {
        let by = lock.row.locked_by.zip(lock.by.clone());
        Self {
            scope: lock.scope.as_str(),
            reason: lock.row.reason.clone(),
            by: by.map(|(id, name)| LockedBy { id, name }),
            created_at: lock.row.created_at,
            expires_at: lock.expires_at(),
        }
    }
}

/// A lock to put in place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutLock {
    /// Why, on one line: everybody who waits reads it.
    reason: String,
    /// When it ends by itself; until somebody lifts it otherwise.
    expires_at: Option<DateTime<Utc>>,
}

async fn show(ctx: &Ctx, actor: &Actor, address: Address<'_>) -> Result<HttpResponse, Problem> {
    let lock = service::get(ctx, actor, address).await?;
    Ok(HttpResponse::Ok().json(LockView::from(&lock)))
}

async fn place(
    ctx: &Ctx,
    actor: &Actor,
    address: Address<'_>,
    body: PutLock,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let reason = problems.parse("reason", body.reason.trim());
    let input = reason.map(|reason| LockInput {
        reason,
        expires_at: body.expires_at,
    });
    let input = problems.finish(input)?;
    let lock = service::put(ctx, actor, address, input, db::now()).await?;
    Ok(HttpResponse::Ok().json(LockView::from(&lock)))
}

async fn lift(ctx: &Ctx, actor: &Actor, address: Address<'_>) -> Result<HttpResponse, Problem> {
    service::lift(ctx, actor, address).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The lock on everything; 404 when there is none.
#[utoipa::path(tag = "locks",
    responses((status = 200, body = LockView), (status = 401), (status = 404)))]
#[get("/lock")]
async fn get_all(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    show(&ctx, &actor, Address::Everything).await
}

/// Locks everything, in the place of an earlier lock. Requests are still accepted; nothing starts
/// once this has answered, and what runs goes on.
#[utoipa::path(tag = "locks", request_body = PutLock,
    responses((status = 200, body = LockView), (status = 401), (status = 403), (status = 422)))]
#[put("/lock")]
async fn put_all(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<PutLock>,
) -> Result<HttpResponse, Problem> {
    place(&ctx, &actor, Address::Everything, body).await
}

/// Lifts the lock on everything.
#[utoipa::path(tag = "locks", responses((status = 204), (status = 401), (status = 403)))]
#[delete("/lock")]
async fn lift_all(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    lift(&ctx, &actor, Address::Everything).await
}

/// A project's lock; 404 when there is none.
#[utoipa::path(tag = "locks", params(("project" = String, Path)),
    responses((status = 200, body = LockView), (status = 401), (status = 404)))]
#[get("/projects/{project}/lock")]
async fn get_project(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    show(&ctx, &actor, Address::Project(&key)).await
}

/// Locks a project, in the place of an earlier lock. Requests are still accepted; nothing starts
/// once this has answered, and what runs goes on.
#[utoipa::path(tag = "locks", params(("project" = String, Path)), request_body = PutLock,
    responses((status = 200, body = LockView), (status = 401), (status = 403), (status = 404),
    (status = 422)))]
#[put("/projects/{project}/lock")]
async fn put_project(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    Body(body): Body<PutLock>,
) -> Result<HttpResponse, Problem> {
    place(&ctx, &actor, Address::Project(&key), body).await
}

/// Lifts a project's lock.
#[utoipa::path(tag = "locks", params(("project" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/lock")]
async fn lift_project(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    lift(&ctx, &actor, Address::Project(&key)).await
}

/// A target's lock; 404 when there is none.
#[utoipa::path(tag = "locks", params(("project" = String, Path), ("target" = String, Path)),
    responses((status = 200, body = LockView), (status = 401), (status = 404)))]
#[get("/projects/{project}/targets/{target}/lock")]
async fn get_target(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    show(&ctx, &actor, Address::Target(&path.0, &path.1)).await
}

/// Locks a target, in the place of an earlier lock. Requests are still accepted; nothing starts
/// once this has answered, and what runs goes on.
#[utoipa::path(tag = "locks", params(("project" = String, Path), ("target" = String, Path)),
    request_body = PutLock, responses((status = 200, body = LockView), (status = 401),
    (status = 403), (status = 404), (status = 422)))]
#[put("/projects/{project}/targets/{target}/lock")]
async fn put_target(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    Body(body): Body<PutLock>,
) -> Result<HttpResponse, Problem> {
    place(&ctx, &actor, Address::Target(&path.0, &path.1), body).await
}

/// Lifts a target's lock.
#[utoipa::path(tag = "locks", params(("project" = String, Path), ("target" = String, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/targets/{target}/lock")]
async fn lift_target(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    lift(&ctx, &actor, Address::Target(&path.0, &path.1)).await
}
