//! The worker's loop: take what may run, run it, say how it ended; drain when told to stop.
//!
//! What running one means is behind [`Work`], so that the loop can also be tried in simulated time.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{
        entity::deployment::Model,
        reason::{Code, Reason},
        run::{self, Next, RunEnd},
        store::claim::{Claim, Claimant, claim, held_by},
    },
    error::Result,
    fail,
    ports::{Authority, Claimed, Entry, Event, LeaseToken, QueueError, Received},
    project::policy::RetryPolicy,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    deploy::{Ended, Workshop, persist},
    lease::{Keeper, Lease, Signals},
};

/// Longest wait for work without looking again.
const WAIT: Duration = Duration::from_secs(5);
/// Wait after something in the way, such as a queue that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// Wait behind a lock that does not expire; lifting it ends the wait.
const LOCKED: Duration = Duration::from_secs(3600);
/// Wait while everything that may run is running, here or elsewhere.
const BUSY: Duration = Duration::from_millis(100);

/// What a worker does with a deployment that it has claimed.
pub trait Work: Clone + Send + Sync + 'static {
    /// The process's state.
    fn ctx(&self) -> &Ctx;

    /// The worker's name, fresh at each start.
    fn name(&self) -> &str;

    /// Cancelled when the worker stops without waiting any longer.
    fn hand_back(&self) -> &CancellationToken;

    /// Waits until deployments may be started.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Runs it. Answers nothing when it is not ours any more.
    fn run(&self, row: Model, signals: &Signals) -> impl Future<Output = Option<Ended>> + Send;

    /// Removes what a run that is over has left behind.
    fn clean_up(&self, row: &Model) -> impl Future<Output = ()> + Send;

    /// Lets a task live beside the caller's.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}

/// One worker.
#[derive(Clone, Debug)]
pub struct Runner<W = Workshop> {
    work: W,
    keeper: Keeper,
    permits: Arc<Semaphore>,
    runs: TaskTracker,
    /// Something ended here: there may be work, or work that is due sooner than was known.
    ended: Arc<Notify>,
}

/// A deployment that this worker has claimed.
struct Job {
    row: Model,
    entry: Entry,
    token: LeaseToken,
    lease: Lease,
}

impl<W: Work> Runner<W> {
    /// A worker that runs as many deployments at once as the settings say.
    #[must_use]
    pub fn new(work: W, keeper: Keeper) -> Self {
        let permits = work.ctx().settings.queue.max_concurrency;
        Self {
            permits: Arc::new(Semaphore::new(permits as usize)),
            runs: TaskTracker::new(),
            ended: Arc::default(),
            work,
            keeper,
        }
    }

    /// What it does with a deployment.
    #[must_use]
    pub fn work(&self) -> &W {
        &self.work
    }

    fn ctx(&self) -> &Ctx {
        self.work.ctx()
    }

    /// Takes and runs deployments until `stop`, then waits for those that run.
    pub async fn run(&self, stop: &CancellationToken) {
        let listening = CancellationToken::new();
        let _listening = listening.clone().drop_guard();
        let listen = self.clone().listen();
        self.work.spawn(async move {
            listening.run_until_cancelled_owned(listen).await;
        });
        while let Some(Ok(permit)) = stop
            .run_until_cancelled(Arc::clone(&self.permits).acquire_owned())
            .await
        {
            // Nothing is started that nobody would end.
            if stop.run_until_cancelled(self.work.ready()).await.is_none() {
                break;
            }
            match self.take().await {
                Took::Job(job) => self.start(*job, permit),
                Took::Again => drop(permit),
                Took::Nothing(wait) => {
                    drop(permit);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = self.ended.notified() => {}
                        () = self.ctx().queue.wait_for_work(wait) => {}
                    }
                }
                Took::Blocked(pause) => {
                    drop(permit);
                    let _stopped = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
            }
        }
        self.drain().await;
    }

    /// Waits for running deployments as long as the settings allow, then hands them back.
    async fn drain(&self) {
        self.ctx().process.drain();
        self.runs.close();
        if self.runs.is_empty() {
            return;
        }
        let patience = Duration::from_secs(self.ctx().settings.worker.drain_timeout_seconds);
        tracing::info!(running = self.runs.len(), "waiting for running deployments");
        tokio::select! {
            biased;
            () = self.runs.wait() => return,
            () = tokio::time::sleep(patience) => {}
            () = self.work.hand_back().cancelled() => {}
        }
        tracing::warn!(
            running = self.runs.len(),
            "handing running deployments back"
        );
        self.work.hand_back().cancel();
        self.runs.wait().await;
    }

    /// Passes on cancellations as soon as they are asked for; the lease renewal learns of them too.
    async fn listen(self) {
        let mut hints = self.ctx().bus.subscribe().await;
        loop {
            if let Received::Event(Event::Cancel(id)) = hints.next().await {
                self.keeper.cancel(id);
            }
        }
    }

    /// Takes the next deployment that may run, and runs it to its end: for tests.
    pub async fn run_once(&self) -> bool {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return false;
        };
        if let Took::Job(job) = self.take().await {
            Box::pin(self.clone().carry_out(*job, permit)).await;
            return true;
        }
        false
    }

    fn start(&self, job: Job, permit: OwnedSemaphorePermit) {
        let run = self.clone().carry_out(job, permit);
        self.work.spawn(self.runs.track_future(run));
    }

    async fn take(&self) -> Took {
        let settings = &self.ctx().settings.queue;
        let token = match LeaseToken::random() {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(error = %error, "no randomness for a lease");
                return Took::Blocked(PAUSE);
            }
        };
        let claimed = self
            .ctx()
            .queue
            .claim(&token, settings.lease(), settings.max_running)
            .await;
        let entry = match claimed {
            Ok(Claimed::Entry(entry)) => entry,
            Ok(Claimed::Empty(due)) => return Took::Nothing(due.map_or(WAIT, |due| due.min(WAIT))),
            Ok(Claimed::Busy) | Err(QueueError::Lost) => return Took::Blocked(BUSY),
            Err(error) => {
                tracing::debug!(error = %error, "nothing could be taken from the queue");
                return Took::Blocked(PAUSE);
            }
        };
        fail::point("claim.after_index");
        match self.own(entry, &token).await {
            Ok(Some(job)) => Took::Job(Box::new(job)),
            Ok(None) => Took::Again,
            Err(error) => {
                tracing::warn!(deployment.id = entry.id.0, error = ?error,
                    "a deployment could not be claimed");
                let lease = Authority::Lease(token);
                let back = self.ctx().queue.requeue(entry, &lease).await;
                if let Err(error) = back {
                    tracing::debug!(error = %error, "its lease in the queue will run out");
                }
                Took::Blocked(PAUSE)
            }
        }
    }

    /// Claims what the index gave out in the database, which alone decides.
    async fn own(&self, entry: Entry, token: &LeaseToken) -> Result<Option<Job>> {
        let ctx = self.ctx();
        let lease = ctx.settings.queue.lease();
        let by = Claimant {
            owner: self.work.name(),
            token,
            lease,
            max_running: ctx.settings.queue.max_running,
        };
        let sent = Instant::now();
        let verdict = match claim(&ctx.db, entry.id, &by, db::now()).await {
            Ok(verdict) => verdict,
            // The answer may have been lost on the way: the token tells whose it is.
            Err(error) => match held_by(ctx.db.writer(), token).await? {
                Some(row) => Claim::Won(Box::new(row)),
                None => return Err(error),
            },
        };
        let by_lease = Authority::Lease(token.clone());
        match verdict {
            Claim::Won(row) => {
                ctx.process.counters.started(&row);
                let lease = self.keeper.keep(row.id, token.clone(), sent);
                // Asked for while it was claimed: nobody else will say so before the renewal.
                if row.cancel_requested_at.is_some() {
                    lease.signals.cancelled.cancel();
                }
                fail::point("claim.after_keep");
                return Ok(Some(Job {
                    row: *row,
                    entry,
                    token: token.clone(),
                    lease,
                }));
            }
            Claim::Ended => {
                fail::point("claim.before_forget");
                ctx.queue.finish(entry, &Authority::Database).await?;
            }
            Claim::Held(holder, left) => {
                fail::point("claim.before_hold");
                ctx.queue.hold(entry, &holder, left.max(lease / 30)).await?;
            }
            Claim::NotYet(delay) => {
                fail::point("claim.before_put_off");
                ctx.queue.retry(entry, &by_lease, delay).await?;
            }
            Claim::Locked(left) => {
                let delay = left.unwrap_or(LOCKED);
                ctx.queue.retry(entry, &by_lease, delay).await?;
            }
            Claim::Behind(older) => {
                fail::point("claim.before_push_older");
                ctx.queue.enqueue(older, true).await?;
                fail::point("claim.before_step_back");
                ctx.queue.requeue(entry, &by_lease).await?;
            }
            Claim::Raced => {
                ctx.queue.retry(entry, &by_lease, PAUSE).await?;
            }
        }
        Ok(None)
    }

    async fn carry_out(self, job: Job, permit: OwnedSemaphorePermit) {
        let ctx = self.ctx();
        ctx.bus.publish(Event::Changed(job.row.id)).await;
        let run = self.work.run(job.row.clone(), &job.lease.signals);
        let ended = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(ended) => ended,
            Err(_panic) => {
                tracing::error!(deployment.id = job.row.id.0, "a run panicked");
                let reason = Reason::new(Code::Internal, "Slipway itself failed during the run.");
                let retry = RetryPolicy::new(&ctx.settings.queue, None, None);
                Some(Ended {
                    end: RunEnd::Failed(reason),
                    retry,
                })
            }
        };
        match ended {
            Some(ended) => self.finish(&job, ended).await,
            None => tracing::warn!(
                deployment.id = job.row.id.0,
                "a run was lost and has stopped"
            ),
        }
        self.work.clean_up(&job.row).await;
        drop(permit);
        self.ended.notify_one();
    }

    /// Writes how a run ended, trying as long as the lease is ours, and tells the index.
    async fn finish(&self, job: &Job, ended: Ended) {
        let ctx = self.ctx();
        let Ended { end, retry } = ended;
        let finish = || run::finish(ctx, &job.row, end.clone(), &retry, db::now());
        let next = match persist(ctx.settings.queue.lease(), &job.lease.signals.lost, finish).await
        {
            Ok(next) => next,
            Err(error) => {
                // The lease runs out now, and recovery decides.
                tracing::error!(deployment.id = job.row.id.0, error = ?error,
                    "the end of a run could not be written");
                return;
            }
        };
        tracing::info!(deployment.id = job.row.id.0, ?end, ?next, "a run ended");
        let lease = Authority::Lease(job.token.clone());
        let told = match next {
            Next::Ended => {
                fail::point("finish.before_index");
                ctx.queue.finish(job.entry, &lease).await
            }
            Next::Retry(delay) => {
                fail::point("finish.before_delay");
                ctx.queue
                    .retry(job.entry, &lease, Duration::from_millis(delay))
                    .await
            }
            Next::Requeue => {
                fail::point("finish.before_return");
                ctx.queue.requeue(job.entry, &lease).await
            }
            Next::Lost => return,
        };
        fail::point("finish.after_index");
        if let Err(error) = told {
            tracing::warn!(deployment.id = job.row.id.0, error = %error,
                "the queue was not told of an end; the reconciler will do it");
        }
    }
}

/// What a look at the queue brought.
enum Took {
    /// A deployment to run.
    Job(Box<Job>),
    /// Something was put right; there may be more.
    Again,
    /// Nothing may run for this long, unless something new comes.
    Nothing(Duration),
    /// Something is in the way.
    Blocked(Duration),
}
