//! Who belongs to a project.

use actix_web::{
    HttpResponse, delete, get, put,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{access::ProjectRole, ctx::Ctx, db, id::UserId, project};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List},
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(list).service(put).service(delete);
}

/// A member of a project.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberView {
    user_id: UserId,
    role: ProjectRole,
    created_at: DateTime<Utc>,
}

/// A project's members.
#[utoipa::path(tag = "projects", params(("project" = String, Path)),
    responses((status = 200, body = List<MemberView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/members")]
async fn list(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = project::service::members::list(&ctx, &actor, &key).await?;
    let items = rows.into_iter().map(|row| MemberView {
        user_id: row.user_id,
        role: row.role,
        created_at: row.created_at,
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}

/// A member's role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMember {
    role: ProjectRole,
}

/// Gives somebody a role in a project.
#[utoipa::path(tag = "projects", params(("project" = String, Path), ("user_id" = i64, Path)),
    request_body = SetMember, responses((status = 204), (status = 401), (status = 403),
    (status = 404), (status = 409), (status = 422)))]
#[put("/projects/{project}/members/{user_id}")]
async fn put(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, UserId)>,
    Body(body): Body<SetMember>,
) -> Result<HttpResponse, Problem> {
    let (key, user) = path.into_inner();
    let change = (user, Some(body.role));
    project::service::members::set(&ctx, &actor, &key, change, db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Ends a membership; a project keeps an Owner.
#[utoipa::path(tag = "projects", params(("project" = String, Path), ("user_id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/projects/{project}/members/{user_id}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, UserId)>,
) -> Result<HttpResponse, Problem> {
    let (key, user) = path.into_inner();
    project::service::members::set(&ctx, &actor, &key, (user, None), db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}
