//! Which of a project's events are told where.

use actix_web::{
    HttpResponse, delete, get, patch, post, put,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    field::{Problems, Remark},
    id::{ChannelId, SubscriptionId},
    notify::{
        Event,
        subscription::service::{self, Detail, Mute, NewSubscription, SubscriptionChange},
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::channels::ChannelChoice;
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
        .service(put_mute)
        .service(lift_mute);
}

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionView {
    id: SubscriptionId,
    events: Vec<Event>,
    channels: Vec<ChannelChoice>,
    /// The slugs of the only targets that are told of; null for all.
    targets: Option<Vec<String>>,
    /// The only branches that are told of, such as `main` or `release/*`; empty for all.
    branches: Vec<String>,
    /// Whether only failures are told, and what ends them.
    changes_only: bool,
    /// Why and until when nothing is told.
    mute: Option<MuteView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Why and until when nothing is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct MuteView {
    until: DateTime<Utc>,
    reason: String,
    /// Who said so; null once the account is gone.
    by: Option<String>,
}

impl From<Detail> for SubscriptionView {
    fn from(detail: Detail) -> Self {
        let targets = detail.targets.into_iter().map(|(_, slug)| slug);
        Self {
            id: detail.row.id,
            events: detail.events,
            channels: detail
                .channels
                .into_iter()
                .map(ChannelChoice::from)
                .collect(),
            targets: detail.only_targets.then(|| targets.collect()),
            branches: detail.branches,
            changes_only: detail.row.changes_only,
            mute: detail.mute.map(|mute| MuteView {
                until: mute.until,
                reason: mute.reason,
                by: mute.by,
            }),
            created_at: detail.row.created_at,
            updated_at: detail.row.updated_at,
        }
    }
}

/// A project's subscriptions.
#[utoipa::path(tag = "notifications", params(("project" = String, Path)),
    responses((status = 200, body = List<SubscriptionView>), (status = 401), (status = 403),
    (status = 404)))]
#[get("/projects/{project}/subscriptions")]
async fn list(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
) -> Result<HttpResponse, Problem> {
    let details = service::list(&ctx, &actor, &key).await?;
    let views = details.into_iter().map(SubscriptionView::from);
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}

/// A new subscription.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSubscription {
    /// Numbers of channels; `/projects/{project}/channels` lists them.
    channels: Vec<ChannelId>,
    /// What is told, such as `failed`.
    events: Vec<String>,
    /// The only targets, by slug or number; all when it is empty.
    #[serde(default)]
    targets: Vec<String>,
    /// The only branches, such as `main` or `release/*`; all when it is empty.
    #[serde(default)]
    branches: Vec<String>,
    /// Whether only failures are told, and what ends them.
    #[serde(default)]
    changes_only: bool,
}

/// Subscribes channels to some of a project's events.
#[utoipa::path(tag = "notifications", params(("project" = String, Path)),
    request_body = CreateSubscription,
    responses((status = 201, body = SubscriptionView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[post("/projects/{project}/subscriptions")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    key: Path<String>,
    Body(body): Body<CreateSubscription>,
) -> Result<HttpResponse, Problem> {
    let input = NewSubscription {
        channels: body.channels,
        events: body.events,
        targets: body.targets,
        branches: body.branches,
        changes_only: body.changes_only,
    };
    let made = service::create(&ctx, &actor, &key, input, db::now()).await?;
    Ok(HttpResponse::Created().json(SubscriptionView::from(made)))
}

/// A subscription.
#[utoipa::path(tag = "notifications", params(("project" = String, Path), ("id" = i64, Path)),
    responses((status = 200, body = SubscriptionView), (status = 401), (status = 403),
    (status = 404)))]
#[get("/projects/{project}/subscriptions/{id}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, SubscriptionId)>,
) -> Result<HttpResponse, Problem> {
    let detail = service::get(&ctx, &actor, &path.0, path.1).await?;
    Ok(HttpResponse::Ok().json(SubscriptionView::from(detail)))
}

/// Changes to a subscription; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSubscription {
    channels: Option<Vec<ChannelId>>,
    events: Option<Vec<String>>,
    targets: Option<Vec<String>>,
    branches: Option<Vec<String>>,
    changes_only: Option<bool>,
}

async fn change(
    ctx: &Ctx,
    actor: &slipway_core::access::Actor,
    path: &(String, SubscriptionId),
    change: SubscriptionChange,
) -> Result<HttpResponse, Problem> {
    let address = (path.0.as_str(), path.1);
    let changed = service::update(ctx, actor, address, change, db::now()).await?;
    Ok(HttpResponse::Ok().json(SubscriptionView::from(changed)))
}

/// Changes a subscription.
#[utoipa::path(tag = "notifications", params(("project" = String, Path), ("id" = i64, Path)),
    request_body = UpdateSubscription,
    responses((status = 200, body = SubscriptionView), (status = 401), (status = 403), (status = 404),
    (status = 422)))]
#[patch("/projects/{project}/subscriptions/{id}")]
async fn update(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, SubscriptionId)>,
    Body(body): Body<UpdateSubscription>,
) -> Result<HttpResponse, Problem> {
    let wanted = SubscriptionChange {
        channels: body.channels,
        events: body.events,
        targets: body.targets,
        branches: body.branches,
        changes_only: body.changes_only,
        mute: None,
    };
    change(&ctx, &actor, &path, wanted).await
}

/// Deletes a subscription. What it has caused already is still sent.
#[utoipa::path(tag = "notifications", params(("project" = String, Path), ("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/projects/{project}/subscriptions/{id}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, SubscriptionId)>,
) -> Result<HttpResponse, Problem> {
    service::delete(&ctx, &actor, &path.0, path.1).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A wish not to be told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMute {
    /// Until when.
    until: DateTime<Utc>,
    /// Why, on one line.
    reason: String,
}

/// Tells nothing until a moment, in the place of an earlier wish.
#[utoipa::path(tag = "notifications", params(("project" = String, Path), ("id" = i64, Path)),
    request_body = PutMute,
    responses((status = 200, body = SubscriptionView), (status = 401), (status = 403), (status = 404),
    (status = 422)))]
#[put("/projects/{project}/subscriptions/{id}/mute")]
async fn put_mute(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, SubscriptionId)>,
    Body(body): Body<PutMute>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let reason = problems.parse::<Remark>("reason", body.reason.trim());
    let until = body.until;
    let wish = problems.finish(reason.map(|reason| Mute { until, reason }))?;
    let wanted = SubscriptionChange {
        mute: Some(Some(wish)),
        ..SubscriptionChange::default()
    };
    change(&ctx, &actor, &path, wanted).await
}

/// Tells again.
#[utoipa::path(tag = "notifications", params(("project" = String, Path), ("id" = i64, Path)),
    responses((status = 200, body = SubscriptionView), (status = 401), (status = 403),
    (status = 404)))]
#[delete("/projects/{project}/subscriptions/{id}/mute")]
async fn lift_mute(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(String, SubscriptionId)>,
) -> Result<HttpResponse, Problem> {
    let wanted = SubscriptionChange {
        mute: Some(None),
        ..SubscriptionChange::default()
    };
    change(&ctx, &actor, &path, wanted).await
}
