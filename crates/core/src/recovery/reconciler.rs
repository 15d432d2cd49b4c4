//! Comparing the index with the database, all the time, in both directions.

use std::collections::HashSet;

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
    ports::{Authority, Place},
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
    /// Targets whose state did not fit their lists.
    pub repaired: u64,
}

impl Mended {
    fn is_nothing(self) -> bool {
        self == Self::default()
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
    if !mended.is_nothing() {
        tracing::warn!(
            ?mended,
            "the queue differed from the database and was put right"
        );
    }
    Ok(mended)
}

async fn rows(ctx: &Ctx, grace: Duration, now: DateTime<Utc>, mended: &mut Mended) -> Result<()> {
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
                queued(ctx, row, place, mended).await?;
            }
        }
    }
}

async fn queued(ctx: &Ctx, row: &OpenRow, place: Place, mended: &mut Mended) -> Result<()> {
    match place {
        Place::Pending | Place::Delayed | Place::Leased => return Ok(()),
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

/// Takes out entries whose deployment has ended or was deleted.
async fn entries(ctx: &Ctx, mended: &mut Mended) -> Result<()> {
    let entries = ctx.queue.entries(ENTRIES).await?;
    for page in entries.chunks(500) {
        let ids: Vec<DeploymentId> = page.iter().map(|entry| entry.id).collect();
        let open: HashSet<DeploymentId> = store::open::still_open(ctx.db.writer(), &ids)
            .await?
            .into_iter()
            .collect();
        for entry in page.iter().filter(|entry| !open.contains(&entry.id)) {
            fail::point("reconciler.before_removal");
            ctx.queue.finish(*entry, &Authority::Database).await?;
            mended.removed += 1;
        }
    }
    Ok(())
}
