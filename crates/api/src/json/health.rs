//! Whether the process lives, and whether it can do its work; nothing else for strangers.

use actix_web::{HttpResponse, get, web::Data};
use serde::Serialize;
use slipway_core::{ctx::Ctx, schema};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// The routes below `/health`.
pub fn routes(service: &mut ServiceConfig<'_>) {
    service.service(live).service(ready);
}

/// Up or down.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `up` or `down`.
    status: &'static str,
    /// Whether the database answers and has this version's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    /// Whether new deployments can be queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'static str>,
}

fn word(is_up: bool) -> &'static str {
    if is_up { "up" } else { "down" }
}

/// Whether the process lives.
#[utoipa::path(tag = "health", security(()), responses((status = 200, body = Health)))]
#[get("/health/live")]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health {
        status: "up",
        database: None,
        queue: None,
    })
}

/// Whether it can take deployments.
#[utoipa::path(tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
#[get("/health/ready")]
async fn ready(ctx: Data<Ctx>) -> HttpResponse {
    let database = schema::require_current(&ctx.db).await.is_ok();
    let queue = ctx.health.is_healthy();
    let body = Health {
        status: word(database && queue),
        database: Some(word(database)),
        queue: Some(word(queue)),
    };
    if database && queue {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable()
            .insert_header(("Retry-After", "5"))
            .json(body)
    }
}
