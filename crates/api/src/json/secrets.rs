//! A project's secrets: written, listed by name, never read.

use actix_web::{
    HttpResponse, delete, get, put,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    field::{Problems, VariableName},
    id::{DeploymentId, UserId},
    vault::{self, service::SecretInput},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::variables::{Scope, slugs};
use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List},
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(list)
        .service(put)
        .service(delete)
        .service(versions)
        .service(destroy)
        .service(used);
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretView {
    name: String,
    /// The slug of the target that it is for; null for the whole project.
    target: Option<String>,
    /// Rises with each new value.
    version: i64,
    /// The master key that it is encrypted under.
    key_version: Option<i64>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A project's secrets by name.
#[utoipa::path(tag = "values", params(("project" = String, Path)),
    responses((status = 200, body = List<SecretView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/secrets")]
async fn list(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = vault::service::list(&ctx, &actor, &key).await?;
    let slugs = slugs(&ctx, &actor, &key).await?;
    let items = rows.into_iter().map(|row| SecretView {
        target: row.secret.target_id.and_then(|id| slugs.get(&id).cloned()),
        key_version: row.value.and_then(|value| value.key_version),
        name: row.secret.name,
        version: row.secret.version,
        created_at: row.secret.created_at,
        updated_at: row.secret.updated_at,
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}

/// A secret's value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// 4 bytes to 64 KiB.
    #[schema(value_type = String)]
    value: SecretString,
    /// The target that it is for; the whole project otherwise.
    target: Option<String>,
}

/// Writes a secret.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("name" = String, Path)),
    request_body = PutSecret, responses((status = 204), (status = 401), (status = 403),
    (status = 404), (status = 422)))]
#[put("/projects/{project}/secrets/{name}")]
async fn put(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    Body(body): Body<PutSecret>,
) -> Result<HttpResponse, Problem> {
    let (key, name) = path.into_inner();
    let mut problems = Problems::default();
    let name = problems.parse::<VariableName>("name", &name);
    let input = name.map(|name| SecretInput {
        name,
        value: body.value,
        target: body.target,
    });
    let input = problems.finish(input)?;
    vault::service::put(&ctx, &actor, &key, input, db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes a secret.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("name" = String, Path), Scope),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/secrets/{name}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    scope: Query<Scope>,
) -> Result<HttpResponse, Problem> {
    let (key, name) = path.into_inner();
    vault::service::delete(&ctx, &actor, &key, &name, scope.target.as_deref()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A value that a secret has or had, without the value.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretVersionView {
    version: i64,
    /// The master key that it is encrypted under; null once it was destroyed.
    key_version: Option<i64>,
    created_at: DateTime<Utc>,
    created_by: Option<UserId>,
    destroyed_at: Option<DateTime<Utc>>,
}

/// Every value that a secret has had, the newest first.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("name" = String, Path), Scope),
    responses((status = 200, body = List<SecretVersionView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/secrets/{name}/versions")]
async fn versions(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    scope: Query<Scope>,
) -> Result<HttpResponse, Problem> {
    let (key, name) = path.into_inner();
    let secret = (name.as_str(), scope.target.as_deref());
    let rows = vault::service::versions(&ctx, &actor, &key, secret).await?;
    let items = rows.into_iter().map(|row| SecretVersionView {
        version: row.version,
        key_version: row.key_version,
        created_at: row.created_at,
        created_by: row.created_by,
        destroyed_at: row.destroyed_at,
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}

/// Destroys a former value of a secret for ever.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("name" = String, Path),
    ("version" = i64, Path), Scope),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/projects/{project}/secrets/{name}/versions/{version}")]
async fn destroy(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String, i64)>,
    scope: Query<Scope>,
) -> Result<HttpResponse, Problem> {
    let (key, name, version) = path.into_inner();
    let value = (name.as_str(), scope.target.as_deref(), version);
    vault::service::destroy(&ctx, &actor, &key, value).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A secret that a run of a deployment was given.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsedSecretView {
    name: String,
    version: i64,
    /// Whether it is the target's own.
    of_target: bool,
    attempt: i64,
    used_at: DateTime<Utc>,
}

/// Which versions of secrets the runs of a deployment were given.
#[utoipa::path(tag = "deployments", params(("id" = i64, Path)),
    responses((status = 200, body = List<UsedSecretView>), (status = 401), (status = 404)))]
#[get("/deployments/{id}/secrets")]
async fn used(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeploymentId>,
) -> Result<HttpResponse, Problem> {
    let rows = vault::service::used(&ctx, &actor, id.into_inner()).await?;
    let items = rows.into_iter().map(|row| UsedSecretView {
        name: row.name,
        version: row.version,
        of_target: row.scope != 0,
        attempt: row.attempt,
        used_at: row.used_at,
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}
