//! The queue and its workers, for those who operate Slipway.

use std::collections::HashMap;

use actix_web::{
    HttpResponse,
    web::{Data, Query},
};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use slipway_core::{
    access::Permission,
    ctx::Ctx,
    db,
    deployment::{
        priority::Priority,
        queue::{self, Summary},
        service::Detail,
        status::Status,
        store::open::Run,
    },
    id::DeploymentId,
    lock::covering::Scope,
    process::service::{Seen, Standing, workers},
};

use super::{
    frame::{Frame, Section, html},
    lock::LockPanel,
    moment::{Moment, span},
    row::{Badge, Row},
    table::Pages,
    visitor::Visitor,
};
use crate::{error::Problem, seal::Seal};

/// Rows of the page.
const PAGE: usize = 50;
const LIST: &str = "queue-page";

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages.get("/queue", show).get("/queue/fragment", fragment);
}

#[derive(Template)]
#[template(path = "queue/show.html")]
struct ShowPage {
    frame: Frame,
    view: View,
    lock: LockPanel,
}

#[derive(Template)]
#[template(path = "queue/fragment.html")]
struct FragmentPage {
    view: View,
}

/// What changes while somebody looks.
struct View {
    waiting: u64,
    limit: u32,
    running: u64,
    max_running: u32,
    oldest: Option<String>,
    is_healthy: bool,
    locks: Vec<LockRow>,
    items: Vec<Item>,
    is_first: bool,
    next: Option<String>,
    workers: Vec<WorkerRow>,
}

/// A lock on something smaller than everything.
struct LockRow {
    project: String,
    target: Option<String>,
    reason: String,
    by: Option<String>,
    until: Option<Moment>,
}

/// A deployment that waits or runs.
struct Item {
    row: Row,
    /// How it competes, if it waits.
    priority: Option<&'static str>,
    position: Option<u64>,
    /// Why it waits, or where it runs.
    about: String,
    interruptions: i64,
}

/// A worker.
struct WorkerRow {
    name: String,
    badge: Badge,
    places: String,
    runs: Vec<DeploymentId>,
    version: String,
    host: String,
    pid: i64,
    labels: String,
    started: Moment,
    seen: Moment,
}

#[derive(Debug, Default, Deserialize)]
struct Position {
    cursor: Option<String>,
}

async fn show(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    at: Query<Position>,
) -> Result<HttpResponse, Problem> {
    let (summary, view) = view(&ctx, &seal, &visitor, &at).await?;
    let may_lock = visitor.actor.may(Permission::Administer, None);
    let all = summary
        .locks
        .iter()
        .find(|named| named.lock.scope == Scope::Everything);
    let lock = all.map(|named| &named.lock);
    let page = ShowPage {
        frame: Frame::of(&visitor, Section::Queue),
        lock: LockPanel::new(&visitor, "/queue".to_owned(), "everything", lock, may_lock),
        view,
    };
    html(HttpResponse::Ok(), &page)
}

/// The part of the page that changes, for its script.
async fn fragment(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    visitor: Visitor,
    at: Query<Position>,
) -> Result<HttpResponse, Problem> {
    let (_, view) = view(&ctx, &seal, &visitor, &at).await?;
    html(HttpResponse::Ok(), &FragmentPage { view })
}

async fn view(
    ctx: &Ctx,
    seal: &Seal,
    visitor: &Visitor,
    at: &Position,
) -> Result<(Summary, View), Problem> {
    let actor = &visitor.actor;
    let after = seal.start(LIST, at.cursor.as_deref())?;
    let now = db::now();
    let summary = queue::summary(ctx, actor, now).await?;
    let first = DeploymentId(after.unwrap_or_default());
    let mut details = queue::items(ctx, actor, first, PAGE as u64 + 1).await?;
    let is_more = details.len() > PAGE;
    details.truncate(PAGE);
    let last = details.last().filter(|_| is_more);
    let runs: HashMap<DeploymentId, &Run> = summary.runs.iter().map(|run| (run.id, run)).collect();
    let items = details.iter().map(|detail| {
        let run = runs.get(&detail.row.id).copied();
        item(ctx, detail, run, now)
    });
    let seen = workers(ctx, actor).await?;
    let view = View {
        waiting: summary.depth.queued,
        limit: summary.limit,
        running: summary.depth.running,
        max_running: summary.max_running,
        oldest: summary.oldest_age().map(span),
        is_healthy: summary.is_healthy,
        locks: locks(&summary, now),
        is_first: after.is_none(),
        next: last.map(|last| seal.cursor(LIST, last.row.id.0)),
        workers: seen.into_iter().map(|seen| worker(seen, now)).collect(),
        items: items.collect(),
    };
    Ok((summary, view))
}

fn locks(summary: &Summary, now: DateTime<Utc>) -> Vec<LockRow> {
    let rows = summary.locks.iter().filter_map(|named| {
        Some(LockRow {
            project: named.project.as_ref()?.slug.clone(),
            target: named.target.as_ref().map(|target| target.slug.clone()),
            reason: named.lock.row.reason.clone(),
            by: named.lock.by.clone(),
            until: named.lock.expires_at().map(|at| Moment::new(at, now)),
        })
    });
    rows.collect()
}

fn item(ctx: &Ctx, detail: &Detail, run: Option<&Run>, now: DateTime<Utc>) -> Item {
    let about = match (&detail.queue, run) {
        (Some(place), _) => place.waiting_text.clone(),
        (None, Some(run)) => lease(ctx, run),
        // It ended or started between the two questions.
        (None, None) => String::new(),
    };
    let waits = detail.row.status == Status::Queued;
    Item {
        row: Row::new(detail, now),
        priority: waits.then(|| Priority::from(detail.row.trigger_kind).as_str()),
        position: detail.queue.as_ref().map(|place| place.position),
        about,
        interruptions: detail.row.interruptions,
    }
}

fn lease(ctx: &Ctx, run: &Run) -> String {
    let owner = run.owner.as_deref().unwrap_or("an unknown worker");
    let age = span(run.age(ctx.settings.queue.lease()));
    if run.left() < TimeDelta::zero() {
        format!("On {owner}, which has been silent for {age}; another worker takes over")
    } else {
        format!("On {owner}, heard of {age} ago")
    }
}

fn worker(seen: Seen, now: DateTime<Utc>) -> WorkerRow {
    WorkerRow {
        badge: match seen.standing {
            Standing::Live => Badge::new("succeeded", "Live"),
            Standing::Draining => Badge::new("queued", "Draining"),
            Standing::Lost => Badge::new("failed", "Lost"),
        },
        places: format!("{} of {}", seen.runs.len(), seen.row.concurrency),
        runs: seen.runs.iter().map(|run| run.id).collect(),
        labels: seen.labels.join(", "),
        started: Moment::new(seen.row.started_at, now),
        seen: Moment::new(seen.seen_at, now),
        name: seen.row.name,
        version: seen.row.version,
        host: seen.row.host,
        pid: seen.row.pid,
    }
}
