//! Notifications: services and places for those who set them up, deliveries, and what a project is
//! told of.

mod channel;
mod delivery;
mod form;
mod provider;
pub(super) mod subscription;

use actix_web::{HttpResponse, web::Data};
use askama::Template;
use chrono::{DateTime, Utc};
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    id::{ChannelId, ProviderId},
    notify::{channel::service as channels, event::Event, provider::service as providers},
};

use super::{
    frame::{Frame, Section, html},
    moment::Moment,
    row::Badge,
    table::Pages,
    visitor::Visitor,
};
use crate::error::Problem;

/// Where notifications are set up.
const HOME: &str = "/notifications";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages.get(HOME, show);
    provider::routes(pages);
    channel::routes(pages);
    delivery::routes(pages);
    subscription::routes(pages);
}

#[derive(Template)]
#[template(path = "notify/overview.html")]
struct Overview {
    frame: Frame,
    /// The services that a provider can be made for.
    kinds: Vec<(&'static str, &'static str)>,
    providers: Vec<ProviderRow>,
    channels: Vec<ChannelRow>,
    may_administer: bool,
}

struct ProviderRow {
    id: ProviderId,
    name: String,
    service: String,
    state: Badge,
    /// When its circuit closes again, if it is open.
    paused: Option<Moment>,
}

struct ChannelRow {
    id: ChannelId,
    name: String,
    provider: String,
    service: String,
    state: Badge,
    failed: Option<Moment>,
}

fn state(disabled: bool, is_failing: bool) -> Badge {
    match (disabled, is_failing) {
        (true, _) => Badge::new("cancelled", "Switched off"),
        (false, true) => Badge::new("failed", "Failing"),
        (false, false) => Badge::new("succeeded", "On"),
    }
}

fn moment(us: Option<i64>, now: DateTime<Utc>) -> Option<Moment> {
    let at = DateTime::from_timestamp_micros(us?)?;
    Some(Moment::new(at, now))
}

async fn show(ctx: Data<Ctx>, visitor: Visitor) -> Result<HttpResponse, Problem> {
    let actor = &visitor.actor;
    let now = Utc::now();
    let may_administer = actor.may(Permission::Administer, None);
    let rows = channels::list(&ctx, actor).await?;
    let providers = if may_administer {
        providers::list(&ctx, actor).await?
    } else {
        Vec::new()
    };
    let open = |until: Option<i64>| until.filter(|until| *until > now.timestamp_micros());
    let page = Overview {
        frame: Frame::of(&visitor, Section::Notifications),
        kinds: ctx
            .providers
            .iter()
            .map(|it| (it.kind(), it.label()))
            .collect(),
        providers: providers
            .into_iter()
            .map(|it| ProviderRow {
                id: it.row.id,
                service: label(&ctx, &it.row.kind),
                state: state(it.row.disabled, it.row.failures > 0),
                paused: moment(open(it.row.open_until_us), now),
                name: it.row.name,
            })
            .collect(),
        channels: rows
            .into_iter()
            .map(|it| ChannelRow {
                id: it.row.id,
                service: label(&ctx, &it.kind),
                state: state(it.row.disabled, it.row.failures > 0),
                failed: moment(it.row.failed_us.filter(|_| it.row.failures > 0), now),
                name: it.row.name,
                provider: it.provider,
            })
            .collect(),
        may_administer,
    };
    html(HttpResponse::Ok(), &page)
}

/// A service's name for people.
fn label(ctx: &Ctx, kind: &str) -> String {
    let service = ctx.providers.get(kind);
    service.map_or_else(|| kind.to_owned(), |it| it.label().to_owned())
}

/// An event's name for people.
fn told(event: Event) -> &'static str {
    match event {
        Event::Requested => "Requested",
        Event::AwaitingApproval => "Waits for approval",
        Event::Started => "Started",
        Event::Succeeded => "Succeeded",
        Event::Failed => "Failed",
        Event::Cancelled => "Cancelled",
        Event::RolledBack => "Rolled back",
        Event::Recovered => "Recovered",
        Event::Stuck => "Stuck in the queue",
        Event::TargetUnreachable => "Target unreachable",
        Event::Locked => "Locked",
        Event::Unlocked => "Lock lifted",
        Event::KeyRotationDue => "Key rotation due",
        Event::Test => "Test",
    }
}
