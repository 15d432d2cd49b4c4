//! SSH key pairs that Slipway makes, of which only the public half is ever shown, and the host keys
//! of servers that a project trusts.

use actix_web::{
    HttpResponse, delete, get, post,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    id::HostKeyId,
    ssh::{self, entity::Model},
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
        .service(generate)
        .service(delete)
        .service(host_keys)
        .service(trust)
        .service(distrust);
}

/// The public half of an SSH key pair.
#[derive(Debug, Serialize, ToSchema)]
pub struct SshKeyView {
    /// The slug of the target that it is for; null for the whole project.
    target: Option<String>,
    /// For the server's list of keys that may read the repository.
    public_key: String,
    fingerprint: String,
    created_at: DateTime<Utc>,
}

/// A project's SSH keys.
#[utoipa::path(tag = "values", params(("project" = String, Path)),
    responses((status = 200, body = List<SshKeyView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/ssh-keys")]
async fn list(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = ssh::service::list(&ctx, &actor, &key).await?;
    let slugs = slugs(&ctx, &actor, &key).await?;
    let items = rows.into_iter().map(|row| {
        let target = row.target_id.and_then(|id| slugs.get(&id).cloned());
        view(row, target)
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}

fn view(row: Model, target: Option<String>) -> SshKeyView {
    SshKeyView {
        target,
        public_key: row.public_key,
        fingerprint: row.fingerprint,
        created_at: row.created_at,
    }
}

/// Which SSH key is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeSshKey {
    /// The target that it is for; the whole project otherwise.
    target: Option<String>,
}

/// Makes an Ed25519 key pair, in the place of the one that is there.
#[utoipa::path(tag = "values", params(("project" = String, Path)), request_body = MakeSshKey,
    responses((status = 201, body = SshKeyView), (status = 401), (status = 403), (status = 404),
    (status = 422)))]
#[post("/projects/{project}/ssh-keys")]
async fn generate(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    Body(body): Body<MakeSshKey>,
) -> Result<HttpResponse, Problem> {
    let target = body.target.as_deref();
    let row = ssh::service::generate(&ctx, &actor, &key, target, db::now()).await?;
    let slugs = slugs(&ctx, &actor, &key).await?;
    let target = row.target_id.and_then(|id| slugs.get(&id).cloned());
    Ok(HttpResponse::Created().json(view(row, target)))
}

/// Deletes an SSH key pair.
#[utoipa::path(tag = "values", params(("project" = String, Path), Scope),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/ssh-keys")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    scope: Query<Scope>,
) -> Result<HttpResponse, Problem> {
    ssh::service::delete(&ctx, &actor, &key, scope.target.as_deref()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A server's key that a project trusts.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostKeyView {
    id: HostKeyId,
    host: String,
    algorithm: String,
    fingerprint: String,
    created_at: DateTime<Utc>,
}

/// The host keys that a project trusts.
#[utoipa::path(tag = "values", params(("project" = String, Path)),
    responses((status = 200, body = List<HostKeyView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/host-keys")]
async fn host_keys(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = ssh::service::host_keys(&ctx, &actor, &key).await?;
    let items = rows.into_iter().map(|row| HostKeyView {
        id: row.id,
        host: row.host,
        algorithm: row.algorithm,
        fingerprint: row.fingerprint,
        created_at: row.created_at,
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}

/// Host keys to trust.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustHostKeys {
    /// Lines of a `known_hosts` file, as `ssh-keyscan` prints them.
    lines: String,
}

/// Lets a project trust more host keys. Compare their fingerprints with what the server's operator
/// says: `ssh-keyscan` believes whoever answers.
#[utoipa::path(tag = "values", params(("project" = String, Path)), request_body = TrustHostKeys,
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 422)))]
#[post("/projects/{project}/host-keys")]
async fn trust(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    Body(body): Body<TrustHostKeys>,
) -> Result<HttpResponse, Problem> {
    ssh::service::trust(&ctx, &actor, &key, &body.lines, db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lets a project trust a host key no more.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/host-keys/{id}")]
async fn distrust(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, HostKeyId)>,
) -> Result<HttpResponse, Problem> {
    let (key, id) = path.into_inner();
    ssh::service::distrust(&ctx, &actor, &key, id).await?;
    Ok(HttpResponse::NoContent().finish())
}
