//! Taking deployments back from workers that were lost.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::{
    ctx::Ctx,
    deployment::{
        entity::deployment::Model,
        reason::{Code, Reason},
        status::Transition,
        store::{self, Guard},
    },
    error::Result,
    fail,
    id::DeploymentId,
    ports::{Authority, Event},
    process::counters::Cause,
};

/// Losses of a worker after which a deployment is given up.
pub const INTERRUPTIONS_MAX: i64 = 3;
/// Rows that are read at once.
const PAGE: u64 = 100;

/// Acts only once the database has been reachable for one lease without a break: while it was away
/// nobody could renew, and taking everything back then would run it all twice.
#[derive(Debug, Default)]
pub struct Reaper {
    reachable_since: Option<Instant>,
}

impl Reaper {
    /// Looks for lost runs, unless the database was away lately. Answers how many it took back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_once(&mut self, ctx: &Ctx, at: Instant, now: DateTime<Utc>) -> Result<u64> {
        let warm_up = ctx.settings.queue.lease();
        if let Err(error) = ctx.db.ping().await {
            self.reachable_since = None;
            return Err(error);
        }
        let since = *self.reachable_since.get_or_insert(at);
        if at.duration_since(since) < warm_up {
            return Ok(0);
        }
        let reaped = reap(ctx, now).await;
        if reaped.is_err() {
            self.reachable_since = None;
        }
        reaped
    }
}

/// Takes back every run whose lease has run out.
///
/// # Errors
/// When the database fails.
pub async fn reap(ctx: &Ctx, now: DateTime<Utc>) -> Result<u64> {
    let mut after = DeploymentId(0);
    let mut reaped = 0;
    loop {
        let rows = store::claim::expired(ctx.db.writer(), after, PAGE).await?;
        let Some(last) = rows.last() else {
            return Ok(reaped);
        };
        after = last.id;
        for row in &rows {
            let guard = Guard::ExpiredLease(row.fence);
            reaped += u64::from(take_back(ctx, row, guard, now).await?);
        }
    }
}

/// Takes back every run of a worker that is certainly dead with all it had started, without waiting
/// for its leases to run out.
///
/// # Errors
/// When the database fails.
pub async fn take_back_from(ctx: &Ctx, owner: &str, now: DateTime<Utc>) -> Result<u64> {
    let mut taken = 0;
    for row in store::claim::owned(ctx.db.writer(), owner).await? {
        let guard = Guard::Owner(row.fence, owner.to_owned());
        taken += u64::from(take_back(ctx, &row, guard, now).await?);
    }
    Ok(taken)
}

async fn take_back(ctx: &Ctx, row: &Model, guard: Guard, now: DateTime<Utc>) -> Result<bool> {
    let transition = verdict(row);
    let cause = match guard {
        Guard::Owner(..) => Cause::FastPath,
        Guard::State | Guard::Fence(_) | Guard::ExpiredLease(_) => Cause::WorkerLost,
    };
    fail::point("reaper.before_write");
    let left = crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let left = store::leave(&tx, row, guard.clone(), &transition, now).await?;
        if let Some(left) = &left {
            left.tell(&tx, &transition, now).await?;
        }
        fail::point("reaper.before_commit");
        tx.commit().await?;
        Ok(left.map(|left| left.row.status))
    })
    .await?;
    let Some(status) = left else {
        return Ok(false);
    };
    tracing::warn!(
        deployment.id = row.id.0,
        lease.owner = row.lease_owner.as_deref().unwrap_or_default(),
        deployment.status = status.as_str(),
        "a worker was lost"
    );
    ctx.process.counters.recovered(cause, 1);
    ctx.process.counters.ended(status);
    let entry = row.entry();
    fail::point("reaper.before_index");
    // If the index fails here the reconciler compares it with the row.
    let told = if status.is_terminal() {
        ctx.queue.finish(entry, &Authority::Database).await
    } else {
        ctx.queue.requeue(entry, &Authority::Database).await
    };
    if let Err(error) = told {
        tracing::warn!(deployment.id = row.id.0, error = %error, "the queue was not told of a loss");
    }
    ctx.bus.publish(Event::Changed(row.id)).await;
    Ok(true)
}

/// What follows from the loss of a worker: pure.
fn verdict(row: &Model) -> Transition {
    if row.cancel_requested_at.is_some() {
        return Transition::Cancel {
            by: row.cancel_requested_by,
        };
    }
    if row.interruptions + 1 >= INTERRUPTIONS_MAX {
        let text = format!(
            "Its worker was lost {INTERRUPTIONS_MAX} times while it ran. See the workers' own \
             logs: a step may take all their memory."
        );
        return Transition::Fail(Reason::new(Code::WorkerLost, text));
    }
    Transition::Interrupt
}

/// How often the reaper looks.
#[must_use]
pub fn interval(lease: Duration) -> Duration {
    lease / 6
}
