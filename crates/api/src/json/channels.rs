//! Places within providers that messages go to.

use actix_web::{
    HttpResponse, delete, get, patch, post,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    field::{DisplayName, Problems},
    id::{ChannelId, DeliveryId, ProviderId},
    notify::{
        Values,
        channel::service::{self, ChannelChange, Choice, Detail, NewChannel},
        delivery::state::State,
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

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
        .service(test)
        .service(offered);
}

/// A channel, without its secret values.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelView {
    id: ChannelId,
    name: String,
    provider: ProviderId,
    provider_name: String,
    /// Which service.
    kind: String,
    /// What its fields hold, but for the secret ones.
    #[schema(value_type = BTreeMap<String, String>)]
    settings: Values,
    /// The names of the secret fields that hold something.
    secrets: Vec<String>,
    /// Whether nothing is sent there.
    disabled: bool,
    /// How many attempts to send have failed since one worked.
    failures: i64,
    /// When an attempt last failed.
    failed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Detail> for ChannelView {
    fn from(detail: Detail) -> Self {
        let row = detail.row;
        Self {
            id: row.id,
            name: row.name,
            provider: row.provider_id,
            provider_name: detail.provider,
            kind: detail.kind,
            settings: detail.settings,
            secrets: detail.secrets,
            disabled: row.disabled,
            failures: row.failures,
            failed_at: row.failed_us.and_then(DateTime::from_timestamp_micros),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A channel as those see it who may subscribe to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelChoice {
    id: ChannelId,
    name: String,
    /// Its provider's name.
    provider: String,
    /// Which service.
    kind: String,
    /// Whether nothing is sent there, by itself or with its whole provider.
    disabled: bool,
}

impl From<Choice> for ChannelChoice {
    fn from(choice: Choice) -> Self {
        Self {
            id: choice.id,
            name: choice.name,
            provider: choice.provider,
            kind: choice.kind,
            disabled: choice.disabled,
        }
    }
}

/// Every channel.
#[utoipa::path(tag = "notifications",
    responses((status = 200, body = List<ChannelView>), (status = 401), (status = 403)))]
#[get("/channels")]
async fn list(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let details = service::list(&ctx, &actor).await?;
    let views = details.into_iter().map(ChannelView::from);
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}

/// The channels that a project may subscribe to.
#[utoipa::path(tag = "notifications", params(("project" = String, Path)),
    responses((status = 200, body = List<ChannelChoice>), (status = 401), (status = 403),
    (status = 404)))]
#[get("/projects/{project}/channels")]
async fn offered(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let choices = service::choices(&ctx, &actor, &key).await?;
    let views = choices.into_iter().map(ChannelChoice::from);
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}

/// A new channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateChannel {
    /// The provider that it belongs to.
    provider: ProviderId,
    name: String,
    /// What its fields hold, by name; `/providers/kinds` describes them.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    settings: Values,
}

/// Sets a channel up.
#[utoipa::path(tag = "notifications", request_body = CreateChannel,
    responses((status = 201, body = ChannelView), (status = 401), (status = 403), (status = 409),
    (status = 422)))]
#[post("/channels")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateChannel>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = problems.parse::<DisplayName>("name", body.name.trim());
    let input = name.map(|name| NewChannel {
        provider: body.provider,
        name,
        settings: body.settings,
    });
    let made = service::create(&ctx, &actor, problems.finish(input)?, db::now()).await?;
    Ok(HttpResponse::Created().json(ChannelView::from(made)))
}

/// A channel.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 200, body = ChannelView), (status = 401), (status = 403), (status = 404)))]
#[get("/channels/{id}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ChannelId>,
) -> Result<HttpResponse, Problem> {
    let detail = service::get(&ctx, &actor, *id).await?;
    Ok(HttpResponse::Ok().json(ChannelView::from(detail)))
}

/// Changes to a channel; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateChannel {
    name: Option<String>,
    disabled: Option<bool>,
    /// Fields to fill in anew. A field that is left out keeps its value, also a secret one; an empty
    /// text takes it away.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    settings: Option<Values>,
}

/// Changes a channel.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)), request_body = UpdateChannel,
    responses((status = 200, body = ChannelView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[patch("/channels/{id}")]
async fn update(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ChannelId>,
    Body(body): Body<UpdateChannel>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = body.name.as_deref().map(str::trim);
    let change = ChannelChange {
        name: name.and_then(|name| problems.parse("name", name)),
        disabled: body.disabled,
        settings: body.settings,
    };
    let change = problems.finish(Some(change))?;
    let changed = service::update(&ctx, &actor, *id, change, db::now()).await?;
    Ok(HttpResponse::Ok().json(ChannelView::from(changed)))
}

/// Deletes a channel that nobody subscribes to, with the record of what was sent there.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/channels/{id}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ChannelId>,
) -> Result<HttpResponse, Problem> {
    service::delete(&ctx, &actor, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What became of a test message.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrialView {
    delivery: DeliveryId,
    state: State,
    /// What the service said, without credentials, or why it was not asked.
    answer: String,
}

/// Has a worker send a test message at once, and answers what the service said.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 200, body = TrialView), (status = 401), (status = 403), (status = 404),
    (status = 409)))]
#[post("/channels/{id}/test")]
async fn test(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ChannelId>,
) -> Result<HttpResponse, Problem> {
    let trial = service::test(&ctx, &actor, *id, db::now()).await?;
    Ok(HttpResponse::Ok().json(TrialView {
        delivery: trial.delivery,
        state: trial.state,
        answer: trial.answer,
    }))
}
