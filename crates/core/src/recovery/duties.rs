//! The loops around the duties: each process runs them until it stops.

use std::time::{Duration, Instant};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    reaper::{self, Reaper},
    rebuild, reconciler, tidy,
};
use crate::{
    audit,
    ctx::Ctx,
    db,
    error::Result,
    notify::outbox,
    ports::QueueError,
    process::{duty, entity::ProcessKind},
};

/// How often the queue's health is probed.
const PROBE: Duration = Duration::from_millis(250);

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often entries of the audit trail are sealed: the time in which the removal of one goes
/// unnoticed.
const SEAL: Duration = Duration::from_secs(1);

/// The duties of one process.
#[derive(Debug)]
pub struct Duties {
    tasks: TaskTracker,
    stop: CancellationToken,
    ctx: Ctx,
}

impl Duties {
    /// Probes the queue, so that its health is known from the first request on, and starts the
    /// loops.
    ///
    /// # Errors
    /// When this process cannot join the others.
    pub async fn start(ctx: &Ctx, kind: ProcessKind) -> Result<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        probe_once(ctx).await;
        db::retried(|| duty::join(ctx, kind)).await?;
        tasks.spawn(stop.clone().run_until_cancelled_owned(probe(ctx.clone())));
        tasks.spawn(stop.clone().run_until_cancelled_owned(reap(ctx.clone())));
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(reconcile(ctx.clone())),
        );
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(duty::run(ctx.clone(), kind)),
        );
        tasks.spawn(stop.clone().run_until_cancelled_owned(tidy(ctx.clone())));
        tasks.spawn(stop.clone().run_until_cancelled_owned(seal(ctx.clone())));
        tasks.spawn(stop.clone().run_until_cancelled_owned(watch(ctx.clone())));
        Ok(Self {
            tasks,
            stop,
            ctx: ctx.clone(),
        })
    }

    /// Ends the loops, and takes leave of the other processes.
    pub async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        duty::leave(&self.ctx).await;
    }
}

/// Probes once, and rebuilds an index that has lost its data.
pub async fn probe_once(ctx: &Ctx) {
    let outcome = match probed(ctx).await {
        Err(QueueError::Lost) => {
            if let Err(error) = rebuild::run_once(ctx).await {
                tracing::warn!(error = ?error, "rebuilding the queue failed");
            }
            probed(ctx).await
        }
        outcome => outcome,
    };
    let reason = outcome.as_ref().err().map(ToString::to_string);
    if ctx.health.record(outcome.is_ok()) {
        match reason {
            None => tracing::info!("the queue is healthy"),
            Some(reason) => tracing::error!(reason, "the queue is unhealthy"),
        }
    }
}

/// A server that hangs has to be noticed sooner than other calls give up on it.
async fn probed(ctx: &Ctx) -> Result<(), QueueError> {
    let answer = tokio::time::timeout(PROBE_TIMEOUT, ctx.queue.probe()).await;
    answer.unwrap_or_else(|_late| Err(QueueError::Unavailable("it does not answer".to_owned())))
}

async fn probe(ctx: Ctx) {
    loop {
        probe_once(&ctx).await;
        tokio::time::sleep(PROBE).await;
    }
}

async fn reap(ctx: Ctx) {
    let mut reaper = Reaper::default();
    loop {
        if let Err(error) = reaper.run_once(&ctx, Instant::now(), db::now()).await {
            tracing::warn!(error = ?error, "looking for lost workers failed");
        }
        tokio::time::sleep(jittered(reaper::interval(ctx.settings.queue.lease()))).await;
    }
}

/// Ratios to the lease: compared every half lease, rows of the last sixth are left alone. That is
/// 15 s and 5 s for the usual lease of 30 s. The first time leaves nothing alone: this may be the
/// restart of the very process that died before it pushed what it had accepted.
async fn reconcile(ctx: Ctx) {
    let lease = ctx.settings.queue.lease();
    let grace = chrono::Duration::from_std(lease / 6).unwrap_or_default();
    let mut is_first = true;
    loop {
        if ctx.health.is_healthy() {
            let grace = if is_first {
                chrono::Duration::zero()
            } else {
                grace
            };
            match reconciler::run_once(&ctx, grace, db::now()).await {
                Ok(_) => is_first = false,
                Err(error) => {
                    tracing::warn!(error = ?error, "comparing the queue with the database failed");
                }
            }
        }
        let pause = if is_first { PROBE * 2 } else { lease / 2 };
        tokio::time::sleep(jittered(pause)).await;
    }
}

async fn tidy(ctx: Ctx) {
    loop {
        if let Err(error) = tidy::run_once(&ctx, db::now()).await {
            tracing::warn!(error = ?error, "removing what is out of date failed");
        }
        tokio::time::sleep(jittered(tidy::INTERVAL)).await;
    }
}

async fn seal(ctx: Ctx) {
    loop {
        let begun = Instant::now();
        let pause = match audit::seal::next_link(&ctx).await {
            // Requests write at the same time: they get as long as this took.
            Ok(audit::seal::ENTRIES_MAX..) => begun.elapsed().min(SEAL),
            Ok(_) => jittered(SEAL),
            Err(error) => {
                tracing::warn!(error = ?error, "sealing the audit trail failed");
                jittered(SEAL)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn watch(ctx: Ctx) {
    loop {
        tokio::time::sleep(jittered(outbox::watch::INTERVAL)).await;
        if let Err(error) = outbox::watch::run_once(&ctx, db::now()).await {
            tracing::warn!(error = ?error, "looking for what people should be told failed");
        }
    }
}

/// Up to a tenth less or more, so that processes started together drift apart.
fn jittered(base: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the processes stay in step, which costs nothing but some load.
    let _no_jitter = getrandom::fill(&mut byte);
    base.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
}
