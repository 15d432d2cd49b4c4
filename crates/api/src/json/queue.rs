//! The whole queue and its workers, for those who operate Slipway.

use std::collections::HashMap;

use actix_web::{
    HttpResponse, get,
    web::{Data, Query},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{
        priority::Priority,
        queue::{self, NamedLock, Summary},
        queue_place::WaitingFor,
        service::Detail,
        status::Status,
        store::open::Run,
        trigger::Trigger,
    },
    id::DeploymentId,
    process::{
        entity::ProcessKind,
        service::{Seen, Standing, workers as all_workers},
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    deployments::{ProjectRef, TargetRef},
    locks::LockView,
};
use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{List, Page, limit},
    seal::Seal,
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(show).service(workers);
}

const LIST: &str = "queue";

/// The queue: what waits and what runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// How many wait.
    depth: u64,
    /// Most that may wait; a request beyond it is answered with 429.
    limit: u32,
    /// How many run.
    running: u64,
    /// Most that may run at once on all workers.
    max_running: u32,
    /// How many wait for somebody's approval; they are not in the queue yet.
    awaiting_approval: u64,
    /// How long the oldest one has waited, in milliseconds.
    oldest_waiting_ms: Option<i64>,
    /// Whether new deployments can be queued.
    healthy: bool,
    /// The locks that hold now.
    locks: Vec<QueueLock>,
    /// What waits or runs, in the order of acceptance.
    items: Vec<QueueItem>,
    /// Where to go on; null at the end.
    next_cursor: Option<String>,
}

/// A lock, and what it is on.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueLock {
    #[serde(flatten)]
    lock: LockView,
    /// Null for a lock on everything.
    project: Option<ProjectRef>,
    /// Null unless the lock is on one target.
    target: Option<TargetRef>,
}

/// A deployment that waits or runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueItem {
    deployment: DeploymentId,
    project: ProjectRef,
    target: TargetRef,
    status: Status,
    trigger: Trigger,
    /// `rollback`, `manual` or `automatic`: which target's next deployment goes first.
    priority: &'static str,
    /// Its place in its target's line, from 1 on; null while it runs.
    position: Option<u64>,
    /// Why it does not run yet.
    waiting_for: Option<WaitingFor>,
    /// The same in a sentence.
    waiting_text: Option<String>,
    /// The name of the worker that runs it.
    worker: Option<String>,
    /// How long ago that worker said that it still runs it, in milliseconds.
    lease_age_ms: Option<i64>,
    /// How long it may stay silent before another one takes over, in milliseconds.
    lease_left_ms: Option<i64>,
    attempt: i64,
    interruptions: i64,
    created_at: DateTime<Utc>,
    /// When its next attempt may begin.
    not_before: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
}

impl QueueItem {
    fn new(ctx: &Ctx, detail: Detail, run: Option<&Run>) -> Self {
        let Detail {
            row,
            project,
            target,
            queue,
            ..
        } = detail;
        let lease = ctx.settings.queue.lease();
        let is_queued = row.status == Status::Queued;
        Self {
            deployment: row.id,
            project: ProjectRef::new(project.id, project.slug),
            target: TargetRef::new(target.id, target.slug),
            status: row.status,
            trigger: row.trigger_kind,
            priority: Priority::from(row.trigger_kind).as_str(),
            position: queue.as_ref().map(|place| place.position),
            waiting_for: queue.as_ref().map(|place| place.waiting_for),
            waiting_text: queue.map(|place| place.waiting_text),
            worker: run.and_then(|run| run.owner.clone()),
            lease_age_ms: run.map(|run| run.age(lease).num_milliseconds()),
            lease_left_ms: run.map(|run| run.left().num_milliseconds()),
            attempt: row.attempt,
            interruptions: row.interruptions,
            created_at: row.created_at,
            not_before: Some(row.not_before)
                .filter(|at| *at > 0 && is_queued)
                .and_then(DateTime::from_timestamp_micros),
            started_at: row.started_at,
        }
    }
}

/// The queue: numbers, locks, and what waits or runs with the reason.
#[utoipa::path(tag = "queue", params(Page),
    responses((status = 200, body = QueueView), (status = 401), (status = 403), (status = 422)))]
#[get("/queue")]
async fn show(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    SignedIn(actor): SignedIn,
    page: Query<Page>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(page.limit)?;
    let after = seal.start(LIST, page.cursor.as_deref())?;
    let after = DeploymentId(after.unwrap_or_default());
    let summary = queue::summary(&ctx, &actor, db::now()).await?;
    let details = queue::items(&ctx, &actor, after, limit + 1).await?;
    let runs: HashMap<DeploymentId, &Run> = summary.runs.iter().map(|run| (run.id, run)).collect();
    let cursor = (&**seal, LIST, |detail: &Detail| detail.row.id.0);
    let list = List::page(details, limit, cursor, |detail| {
        let run = runs.get(&detail.row.id).copied();
        QueueItem::new(&ctx, detail, run)
    });
    Ok(HttpResponse::Ok().json(QueueView::new(&summary, list)))
}

impl QueueView {
    fn new(summary: &Summary, list: List<QueueItem>) -> Self {
        Self {
            depth: summary.depth.queued,
            limit: summary.limit,
            running: summary.depth.running,
            max_running: summary.max_running,
            awaiting_approval: summary.depth.awaiting_approval,
            oldest_waiting_ms: summary.oldest_age().map(|age| age.num_milliseconds()),
            healthy: summary.is_healthy,
            locks: summary.locks.iter().map(QueueLock::from).collect(),
            items: list.items,
            next_cursor: list.next_cursor,
        }
    }
}

impl From<&NamedLock> for QueueLock {
    fn from(named: &NamedLock) -> Self {
        let project = named.project.clone();
        let target = named.target.clone();
        Self {
            lock: (&named.lock).into(),
            project: project.map(|project| ProjectRef::new(project.id, project.slug)),
            target: target.map(|target| TargetRef::new(target.id, target.slug)),
        }
    }
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerView {
    name: String,
    /// `worker`, or `up` when it is also the API server.
    kind: ProcessKind,
    host: String,
    pid: i64,
    version: String,
    status: Standing,
    /// Deployments that it runs at once.
    concurrency: i64,
    labels: Vec<String>,
    started_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    /// What it runs now.
    running: Vec<WorkerRun>,
}

/// A deployment that a worker runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerRun {
    deployment: DeploymentId,
    /// How long ago the worker said that it still runs it, in milliseconds.
    lease_age_ms: i64,
}

impl WorkerView {
    fn new(ctx: &Ctx, seen: Seen) -> Self {
        let lease = ctx.settings.queue.lease();
        let running = seen.runs.iter().map(|run| WorkerRun {
            deployment: run.id,
            lease_age_ms: run.age(lease).num_milliseconds(),
        });
        Self {
            running: running.collect(),
            name: seen.row.name,
            kind: seen.row.kind,
            host: seen.row.host,
            pid: seen.row.pid,
            version: seen.row.version,
            status: seen.standing,
            concurrency: seen.row.concurrency,
            labels: seen.labels,
            started_at: seen.row.started_at,
            seen_at: seen.seen_at,
        }
    }
}

/// The workers, oldest first; one that ended without a word stays a day as lost.
#[utoipa::path(tag = "queue",
    responses((status = 200, body = List<WorkerView>), (status = 401), (status = 403)))]
#[get("/workers")]
async fn workers(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let workers = all_workers(&ctx, &actor).await?;
    let views = workers.into_iter().map(|seen| WorkerView::new(&ctx, seen));
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}
