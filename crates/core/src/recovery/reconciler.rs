//! Comparing the index with the database, all the time, in both directions.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};

use crate::{
    ctx::Ctx,
    deployment::{
        status::Status,
        store::{self, open::OpenRow},
    },
    error::Result,
    fail,
    id::DeploymentId,
    lock::{self, covering::Locks},
    ports::{Authority, Entry, Place},
};

/// Rows that are compared at once.
const PAGE: u64 = 500;
/// Entries of the index that are compared at once.
const ENTRIES: usize = 10_000;

/// What one comparison mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Queued rows that the index did not know.
    pub pushed: u64,
    /// Entries that were in no list.
    pub adrift: u64,
    /// Running rows that the index did not hold.
    pub held: u64,
    /// Entries of deployments that have ended.
    pub removed: u64,
    /// Targets whose state did not fit their lists, and entries with a wrong priority.
    pub repaired: u64,
    /// Entries that waited for a lock which is gone.
    pub lifted: u64,
}

impl Mended {
    /// Whether the two agreed. An entry that is held back longer than its row is none of a fault:
    /// its lock is gone, or nobody has looked since its time came.
    fn is_nothing(self) -> bool {
        Self { lifted: 0, ..self } == Self::default()
    }
}

/// Compares everything once. Rows younger than `grace` are left to whoever has just written them.
///
/// # Errors
/// When the database or the queue fails; what was mended stays mended.
pub async fn run_once(ctx: &Ctx, grace: Duration, now: DateTime<Utc>) -> Result<Mended> {
    let mut mended = Mended::default();
    rows(ctx, grace, now, &mut mended).await?;
    entries(ctx, &mut mended).await?;
    for target in ctx.queue.targets().await? {
        mended.repaired += u64::from(ctx.queue.repair(target).await?);
    }
    ctx.process.counters.mended(mended);
    if !mended.is_nothing() {
        tracing::warn!(
            ?mended,
            "the queue differed from the database and was put right"
        );
    }
    Ok(mended)
}

async fn rows(ctx: &Ctx, grace: Duration, now: DateTime<Utc>, mended: &mut Mended) -> Result<()> {
    let locks = lock::store::active(ctx.db.writer()).await?;
    let mut after = DeploymentId(0);
    loop {
        let page = store::open::open_rows(ctx.db.writer(), after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.id;
        let ids: Vec<DeploymentId> = page.iter().map(|row| row.id).collect();
        let places = ctx.queue.places(&ids).await?;
        for row in &page {
            let place = places.get(&row.id).copied().unwrap_or(Place::Absent);
            if row.status == Status::Running {
                running(ctx, row, place, mended).await?;
            } else if row.created_at + grace <= now {
                queued(ctx, row, (place, &locks), mended).await?;
            }
        }
    }
}

async fn queued(
    ctx: &Ctx,
    row: &OpenRow,
    (place, locks): (Place, &Locks),
    mended: &mut Mended,
) -> Result<()> {
    match place {
        Place::Pending | Place::Leased => return Ok(()),
        Place::Delayed => {
            let is_locked = locks.over(row.project_id, row.target_id).is_some();
            if row.delay_left().is_none() && !is_locked {
                ctx.queue.requeue(row.entry(), &Authority::Database).await?;
                mended.lifted += 1;
            }
            return Ok(());
        }
        Place::Absent => mended.pushed += 1,
        Place::Adrift => {
            ctx.queue.finish(row.entry(), &Authority::Database).await?;
            mended.adrift += 1;
        }
    }
    fail::point("reconciler.before_push");
    ctx.queue.enqueue(row.entry(), true).await?;
    if let Some(delay) = row.delay_left() {
        fail::point("reconciler.before_delay");
        ctx.queue
            .retry(row.entry(), &Authority::Database, delay)
            .await?;
    }
    Ok(())
}

async fn running(ctx: &Ctx, row: &OpenRow, place: Place, mended: &mut Mended) -> Result<()> {
    if place == Place::Leased {
        return Ok(());
    }
    if let Some((token, left)) = row.lease_left() {
        fail::point("reconciler.before_hold");
        ctx.queue.hold(row.entry(), &token, left).await?;
        mended.held += 1;
    }
    Ok(())
}

/// Takes out entries whose deployment has ended or was deleted, and corrects priorities.
async fn entries(ctx: &Ctx, mended: &mut Mended) -> Result<()> {
    let entries = ctx.queue.entries(ENTRIES).await?;
    for page in entries.chunks(500) {
        let ids: Vec<DeploymentId> = page.iter().map(|entry| entry.id).collect();
        let open: HashMap<DeploymentId, Entry> = store::open::still_open(ctx.db.writer(), &ids)
            .await?
            .into_iter()
            .map(|entry| (entry.id, entry))
            .collect();
        for entry in page {
            match open.get(&entry.id) {
                None => {
                    fail::point("reconciler.before_removal");
                    ctx.queue.finish(*entry, &Authority::Database).await?;
                    mended.removed += 1;
                }
                Some(right) if right.priority != entry.priority => {
                    ctx.queue.enqueue(*right, true).await?;
                    mended.repaired += 1;
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
