//! A project's plain values.

use std::collections::HashMap;

use actix_web::{
    HttpResponse, delete, get, put,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::Actor,
    ctx::Ctx,
    db,
    error::Result,
    field::{Problems, VariableName},
    id::TargetId,
    target,
    variable::{self, service::VariableInput},
};
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

/// A variable.
#[derive(Debug, Serialize, ToSchema)]
pub struct VariableView {
    name: String,
    value: String,
    /// The slug of the target that it is for; null for the whole project.
    target: Option<String>,
    updated_at: DateTime<Utc>,
}

/// Names a target; without one the whole project is meant.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The target's slug or id.
    pub target: Option<String>,
}

/// The slugs of a project's targets.
pub(super) async fn slugs(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
) -> Result<HashMap<TargetId, String>> {
    let targets = target::service::list(ctx, actor, project).await?;
    Ok(targets
        .into_iter()
        .map(|target| (target.id, target.slug))
        .collect())
}

/// A project's variables.
#[utoipa::path(tag = "values", params(("project" = String, Path)),
    responses((status = 200, body = List<VariableView>), (status = 401), (status = 404)))]
#[get("/projects/{project}/variables")]
async fn list(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = variable::service::list(&ctx, &actor, &key).await?;
    let slugs = slugs(&ctx, &actor, &key).await?;
    let items = rows.into_iter().map(|row| VariableView {
        name: row.name,
        value: row.value,
        target: row.target_id.and_then(|id| slugs.get(&id).cloned()),
        updated_at: row.updated_at,
    });
    Ok(HttpResponse::Ok().json(List::whole(items.collect())))
}

/// A variable's value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutVariable {
    /// At most 64 KiB.
    value: String,
    /// The target that it is for; the whole project otherwise.
    target: Option<String>,
}

/// Writes a variable.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("name" = String, Path)),
    request_body = PutVariable, responses((status = 204), (status = 401), (status = 403),
    (status = 404), (status = 422)))]
#[put("/projects/{project}/variables/{name}")]
async fn put(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    Body(body): Body<PutVariable>,
) -> Result<HttpResponse, Problem> {
    let (key, name) = path.into_inner();
    let mut problems = Problems::default();
    let name = problems.parse::<VariableName>("name", &name);
    let input = name.map(|name| VariableInput {
        name,
        value: body.value,
        target: body.target,
    });
    let input = problems.finish(input)?;
    variable::service::put(&ctx, &actor, &key, input, db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes a variable.
#[utoipa::path(tag = "values", params(("project" = String, Path), ("name" = String, Path), Scope),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/variables/{name}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, String)>,
    scope: Query<Scope>,
) -> Result<HttpResponse, Problem> {
    let (key, name) = path.into_inner();
    variable::service::delete(&ctx, &actor, &key, &name, scope.target.as_deref()).await?;
    Ok(HttpResponse::NoContent().finish())
}
