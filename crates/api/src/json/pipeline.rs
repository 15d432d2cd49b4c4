//! A project's pipeline.

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse, get,
    http::StatusCode,
    put,
    web::{Data, Path, Payload},
};
use serde::{Deserialize, Serialize};
use slipway_core::{ctx::Ctx, db, pipeline::Pipeline, project};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{parse, read},
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(get).service(put);
}

/// A pipeline as it was written and as it was understood.
#[derive(Debug, Serialize, ToSchema)]
pub struct PipelineView {
    /// The text.
    source: String,
    /// Its meaning, defaults filled in.
    #[schema(value_type = Object)]
    pipeline: Pipeline,
}

/// A new pipeline.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPipeline {
    /// YAML or JSON.
    source: String,
}

/// A project's pipeline.
#[utoipa::path(tag = "projects", params(("project" = String, Path)),
    responses((status = 200, body = PipelineView), (status = 401), (status = 404)))]
#[get("/projects/{project}/pipeline")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let (source, pipeline) = project::service::pipeline(&ctx, &actor, &key).await?;
    Ok(HttpResponse::Ok().json(PipelineView { source, pipeline }))
}

/// Replaces a project's pipeline: `{"source": "..."}`, or the text itself as `text/yaml`.
#[utoipa::path(tag = "projects", params(("project" = String, Path)),
    request_body(content((SetPipeline = "application/json"), (String = "text/yaml"))),
    responses((status = 200, body = PipelineView), (status = 401), (status = 403), (status = 404),
    (status = 422)))]
#[put("/projects/{project}/pipeline")]
async fn put(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = read(&mut payload.into_inner()).await?;
    let source = match request.content_type().to_ascii_lowercase().as_str() {
        "application/json" => parse::<SetPipeline>(&body)?.source,
        "text/yaml" | "application/yaml" | "application/x-yaml" | "text/x-yaml" => {
            String::from_utf8(body.to_vec())
                .map_err(|error| Problem::malformed(format!("the body is not UTF-8: {error}")))?
        }
        _ => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let detail = "send the pipeline as application/json {\"source\": ...} or text/yaml";
            return Err(Problem::request(status, "unsupported_media_type", detail));
        }
    };
    let pipeline = project::service::set_pipeline(&ctx, &actor, &key, &source, db::now()).await?;
    Ok(HttpResponse::Ok().json(PipelineView { source, pipeline }))
}
