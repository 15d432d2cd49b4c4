//! What a project is told of, on its page: each subscription with a form to change, mute or end it.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use askama::{Template, filters::HtmlSafe};
use chrono::{DateTime, TimeDelta, Utc};
use slipway_core::{
    ctx::Ctx,
    db,
    error::{Error, Result},
    field::Problems,
    id::SubscriptionId,
    notify::{
        channel::service::{Choice, choices},
        event::Event,
        subscription::service::{self, Detail, Mute, NewSubscription, SubscriptionChange},
    },
    target,
};

use super::{
    super::{
        frame::see_other,
        moment::Moment,
        table::Pages,
        visitor::{Button, Sent, Visitor},
    },
    form::{Fields, text},
    told,
};
use crate::error::Problem;

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .post("/projects/{project}/subscriptions", create)
        .post("/projects/{project}/subscriptions/{id}", change)
        .post("/projects/{project}/subscriptions/{id}/mute", mute)
        .post("/projects/{project}/subscriptions/{id}/delete", delete);
}

/// The subscriptions of a project, with forms for those who govern it.
#[derive(Clone, Debug, Template)]
#[template(path = "parts/subscriptions.html")]
pub(in super::super) struct SubscriptionPanel {
    slug: String,
    token: String,
    rows: Vec<Row>,
    /// The form for a new one.
    blank: Form,
    has_channels: bool,
    may_govern: bool,
}

// Its template escapes what it shows.
impl HtmlSafe for SubscriptionPanel {}

#[derive(Clone, Debug)]
struct Row {
    id: SubscriptionId,
    channels: String,
    events: String,
    only: Vec<String>,
    mute: Option<(Moment, String)>,
    form: Form,
}

/// Boxes to tick, and what is ticked.
#[derive(Clone, Debug)]
struct Form {
    channels: Vec<Tick>,
    events: Vec<Tick>,
    targets: Vec<Tick>,
    branches: String,
    changes_only: bool,
}

#[derive(Clone, Debug)]
struct Tick {
    name: String,
    label: String,
    is_on: bool,
}

/// What a new subscription tells unless somebody chooses otherwise.
const USUAL: [Event; 4] = [
    Event::Failed,
    Event::RolledBack,
    Event::Recovered,
    Event::Stuck,
];

impl Form {
    fn new(channels: &[Choice], targets: &[target::entity::Model], of: Option<&Detail>) -> Self {
        let channel = |it: &Choice| Tick {
            name: format!("channel-{}", it.id),
            label: format!("{} ({})", it.name, it.provider),
            is_on: of.is_some_and(|of| of.channels.iter().any(|own| own.id == it.id)),
        };
        let event = |it: Event| Tick {
            name: format!("event-{it}"),
            label: told(it).to_owned(),
            is_on: of.map_or(USUAL.contains(&it), |of| of.events.contains(&it)),
        };
        let target = |it: &target::entity::Model| Tick {
            name: format!("target-{}", it.slug),
            label: it.slug.clone(),
            is_on: of.is_some_and(|of| of.targets.iter().any(|own| own.0 == it.id)),
        };
        let events = Event::ALL.into_iter().filter(|event| *event != Event::Test);
        Self {
            channels: channels.iter().map(channel).collect(),
            events: events.map(event).collect(),
            targets: targets.iter().map(target).collect(),
            branches: of.map_or(String::new(), |of| of.branches.join(" ")),
            changes_only: of.is_some_and(|of| of.row.changes_only),
        }
    }
}

impl SubscriptionPanel {
    /// The panel of a project that the visitor may see.
    pub(in super::super) async fn new(
        ctx: &Ctx,
        visitor: &Visitor,
        slug: &str,
        targets: &[target::entity::Model],
        may_govern: bool,
    ) -> Result<Self> {
        let now = Utc::now();
        let actor = &visitor.actor;
        let channels = choices(ctx, actor, slug).await?;
        let rows = service::list(ctx, actor, slug).await?;
        let row = |detail: &Detail| Row {
            id: detail.row.id,
            channels: joined(detail.channels.iter().map(|it| it.name.clone())),
            events: joined(detail.events.iter().map(|event| told(*event).to_owned())),
            only: only(detail),
            mute: muted(detail, now),
            form: Form::new(&channels, targets, Some(detail)),
        };
        Ok(Self {
            slug: slug.to_owned(),
            token: visitor.token.clone(),
            rows: rows.iter().map(row).collect(),
            blank: Form::new(&channels, targets, None),
            has_channels: !channels.is_empty(),
            may_govern,
        })
    }
}

fn joined(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// What narrows a subscription, in words.
fn only(detail: &Detail) -> Vec<String> {
    let mut only = Vec::new();
    if detail.row.changes_only {
        only.push("Failures and recoveries only".to_owned());
    }
    if detail.only_targets {
        let targets = joined(detail.targets.iter().map(|(_, slug)| slug.clone()));
        only.push(if targets.is_empty() {
            "Its targets were deleted".to_owned()
        } else {
            format!("Target {targets}")
        });
    }
    if !detail.branches.is_empty() {
        only.push(format!("Branch {}", detail.branches.join(", ")));
    }
    only
}

fn muted(detail: &Detail, now: DateTime<Utc>) -> Option<(Moment, String)> {
    let mute = detail.mute.as_ref().filter(|mute| mute.until > now)?;
    let by = mute.by.as_ref().map(|by| format!(" ({by})"));
    let reason = format!("{}{}", mute.reason, by.unwrap_or_default());
    Some((Moment::new(mute.until, now), reason))
}

fn back(slug: &str) -> HttpResponse {
    see_other(format!("/projects/{slug}#notifications"))
}

fn ticked(sent: &Fields, prefix: &str) -> Vec<String> {
    let names = sent.keys().filter_map(|name| name.strip_prefix(prefix));
    names.map(str::to_owned).collect()
}

fn read(sent: &Fields) -> Result<NewSubscription> {
    let mut channels = Vec::new();
    for id in ticked(sent, "channel-") {
        let Ok(id) = id.parse() else {
            return Err(Error::invalid("channels", "there is no such channel"));
        };
        channels.push(id);
    }
    let branches = text(sent, "branches");
    Ok(NewSubscription {
        channels,
        events: ticked(sent, "event-"),
        targets: ticked(sent, "target-"),
        branches: branches.split_whitespace().map(str::to_owned).collect(),
        changes_only: sent.contains_key("changes_only"),
    })
}

async fn create(
    ctx: Data<Ctx>,
    slug: Path<String>,
    sent: Sent<Fields>,
) -> Result<HttpResponse, Problem> {
    let input = read(&sent.fields)?;
    service::create(&ctx, &sent.visitor.actor, &slug, input, db::now()).await?;
    Ok(back(&slug))
}

async fn change(
    ctx: Data<Ctx>,
    at: Path<(String, SubscriptionId)>,
    sent: Sent<Fields>,
) -> Result<HttpResponse, Problem> {
    let (slug, id) = at.into_inner();
    let input = read(&sent.fields)?;
    let change = SubscriptionChange {
        channels: Some(input.channels),
        events: Some(input.events),
        targets: Some(input.targets),
        branches: Some(input.branches),
        changes_only: Some(input.changes_only),
        mute: None,
    };
    let actor = &sent.visitor.actor;
    service::update(&ctx, actor, (&slug, id), change, db::now()).await?;
    Ok(back(&slug))
}

/// The longest mute that the page offers, in hours.
const MUTE_MAX: i64 = 24 * 30;

async fn mute(
    ctx: Data<Ctx>,
    at: Path<(String, SubscriptionId)>,
    sent: Sent<Fields>,
) -> Result<HttpResponse, Problem> {
    let (slug, id) = at.into_inner();
    let now = db::now();
    let hours = text(&sent.fields, "hours");
    let mute = if hours.is_empty() {
        None
    } else {
        let mut problems = Problems::default();
        let hours = hours
            .parse()
            .ok()
            .filter(|hours| (1..=MUTE_MAX).contains(hours));
        let hours = hours.ok_or_else(|| format!("must be 1 to {MUTE_MAX}"));
        let hours = problems.take("hours", hours);
        let reason = problems.parse("reason", text(&sent.fields, "reason"));
        let mute = hours.zip(reason).map(|(hours, reason)| Mute {
            until: now + TimeDelta::hours(hours),
            reason,
        });
        Some(problems.finish(mute)?)
    };
    let change = SubscriptionChange {
        mute: Some(mute),
        ..SubscriptionChange::default()
    };
    service::update(&ctx, &sent.visitor.actor, (&slug, id), change, now).await?;
    Ok(back(&slug))
}

async fn delete(
    ctx: Data<Ctx>,
    at: Path<(String, SubscriptionId)>,
    sent: Sent<Button>,
) -> Result<HttpResponse, Problem> {
    let (slug, id) = at.into_inner();
    service::delete(&ctx, &sent.visitor.actor, &slug, id).await?;
    Ok(back(&slug))
}
