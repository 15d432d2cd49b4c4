//! What was sent where, and what became of it.

use actix_web::{
    HttpResponse, get, post,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    id::{ChannelId, DeliveryId, DeploymentId, ProjectId},
    notify::{
        Event,
        delivery::{
            service::{self, Detail, ListInput},
            state::State,
        },
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::channels::ChannelChoice;
use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{List, limit},
    seal::Seal,
};

const LIST: &str = "deliveries";

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(list).service(get).service(resend);
}

/// One message for one channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    id: DeliveryId,
    event: Event,
    /// The project; null when it concerns everything.
    project: Option<ProjectId>,
    /// The slug of the target that it is about.
    target: Option<String>,
    deployment: Option<DeploymentId>,
    channel: ChannelChoice,
    state: State,
    /// How often it was tried.
    attempts: i64,
    /// What the service said last, without credentials.
    answer: Option<String>,
    /// What receivers know repetitions by.
    key: String,
    /// How many of the same were told with it.
    folded: i64,
    /// The message that it was told with.
    folded_into: Option<DeliveryId>,
    created_at: DateTime<Utc>,
    /// When it is tried next, while it waits.
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it came to its state, if that is final.
    ended_at: Option<DateTime<Utc>>,
}

impl From<Detail> for DeliveryView {
    fn from(detail: Detail) -> Self {
        Self {
            created_at: detail.created_at(),
            next_attempt_at: detail.next_at(),
            ended_at: detail.ended_at(),
            id: detail.row.id,
            event: detail.notice.event,
            project: detail.project,
            target: detail.notice.target,
            deployment: detail.notice.deployment.map(|facts| facts.id),
            channel: detail.channel.into(),
            state: detail.row.state,
            attempts: detail.row.tries,
            answer: detail.row.answer,
            key: detail.row.key,
            folded: detail.row.folded,
            folded_into: detail.row.folded_into,
        }
    }
}

/// Which deliveries to answer.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Only of this project, by slug or number; without it everything, for those who operate Slipway.
    pub project: Option<String>,
    /// Only about the deployment with this number.
    pub deployment: Option<DeploymentId>,
    /// Only for the channel with this number.
    pub channel: Option<ChannelId>,
    /// Only in this state.
    pub state: Option<State>,
    /// How many items, at most 200; 50 otherwise.
    pub limit: Option<u64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// What was sent, newest first.
#[utoipa::path(tag = "notifications", params(Wanted),
    responses((status = 200, body = List<DeliveryView>), (status = 401), (status = 403), (status = 404),
    (status = 422)))]
#[get("/deliveries")]
async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    SignedIn(actor): SignedIn,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted.into_inner();
    let limit = limit(wanted.limit)?;
    let input = ListInput {
        project: wanted.project,
        deployment: wanted.deployment,
        channel: wanted.channel,
        state: wanted.state,
        before: seal.start(LIST, wanted.cursor.as_deref())?.map(DeliveryId),
        limit: limit + 1,
    };
    let details = service::list(&ctx, &actor, &input).await?;
    let cursor = (&**seal, LIST, |detail: &Detail| detail.row.id.0);
    Ok(HttpResponse::Ok().json(List::page(details, limit, cursor, DeliveryView::from)))
}

/// One message for one channel.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 200, body = DeliveryView), (status = 401), (status = 403), (status = 404)))]
#[get("/deliveries/{id}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeliveryId>,
) -> Result<HttpResponse, Problem> {
    let detail = service::get(&ctx, &actor, *id).await?;
    Ok(HttpResponse::Ok().json(DeliveryView::from(detail)))
}

/// Has a message that has ended sent once more, with another key.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 202, body = DeliveryView), (status = 401), (status = 403), (status = 404),
    (status = 409)))]
#[post("/deliveries/{id}/resend")]
async fn resend(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<DeliveryId>,
) -> Result<HttpResponse, Problem> {
    let detail = service::resend(&ctx, &actor, *id, db::now()).await?;
    Ok(HttpResponse::Accepted().json(DeliveryView::from(detail)))
}
