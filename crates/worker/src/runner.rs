//! The worker's loop: take what may run, run it, say how it ended; drain when told to stop.
//!
//! What running one means is behind [`Work`], so that the loop can also be tried in simulated time.

use std::{mem, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::{
        brief::{Brief, Known},
        entity::deployment::Model,
        reason::{Code, Reason},
        run::{self, Ended, Next, RunEnd},
        store::{ending::Last, step::Plan},
    },
    error::Error,
    fail,
    ports::{Authority, Entry, Event, LeaseToken, Received},
    project::policy::RetryPolicy,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    deploy::{Workshop, persist},
    lease::{Keeper, Lease, Signals},
    taking::Then,
};

/// Most deployments that are taken at once.
const EAGER_MAX: usize = 32;

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

    /// What its first run is going to do, if all of that is known already: then it is written down
    /// with the claim, and the run begins with it.
    fn plan(&self, row: &Model, brief: &Brief) -> Option<Plan>;

    /// Runs it, and needs neither ask for what is known nor write down what has been. Answers
    /// nothing when it is not ours any more.
    fn run(
        &self,
        row: Model,
        known: Known,
        signals: &Signals,
    ) -> impl Future<Output = Option<Ended>> + Send;

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
    pub(crate) work: W,
    pub(crate) keeper: Keeper,
    permits: Arc<Semaphore>,
    runs: TaskTracker,
    /// Something ended here: there may be work, or work that is due sooner than was known.
    ended: Arc<Notify>,
}

/// A deployment that this worker has claimed.
pub(crate) struct Job {
    pub(crate) row: Model,
    /// What its claim has seen and written for its run.
    pub(crate) known: Known,
    pub(crate) entry: Entry,
    pub(crate) token: LeaseToken,
    pub(crate) lease: Lease,
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

    pub(crate) fn ctx(&self) -> &Ctx {
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
        let mut eager = 1;
        while let Some(Ok(first)) = stop
            .run_until_cancelled(Arc::clone(&self.permits).acquire_owned())
            .await
        {
            let mut permits = vec![first];
            while permits.len() < eager
                && let Ok(another) = Arc::clone(&self.permits).try_acquire_owned()
            {
                permits.push(another);
            }
            let took = self.take(permits.len()).await;
            // As long as everything that is asked for comes, there is more where it came from.
            eager = if took.is_all {
                EAGER_MAX.min(eager * 2)
            } else {
                1
            };
            for (job, permit) in took.jobs.into_iter().zip(permits) {
                self.start(job, permit);
            }
            match took.then {
                Then::Again => {}
                Then::Wait(longest) => {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = self.ended.notified() => {}
                        () = self.ctx().queue.wait_for_work(longest) => {}
                    }
                }
                Then::Pause(pause) => {
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
        let mut took = self.take(1).await;
        if let Some(job) = took.jobs.pop() {
            Box::pin(self.clone().carry_out(job, permit)).await;
            return true;
        }
        false
    }

    fn start(&self, job: Job, permit: OwnedSemaphorePermit) {
        let run = self.clone().carry_out(job, permit);
        self.work.spawn(self.runs.track_future(run));
    }

    async fn carry_out(self, mut job: Job, permit: OwnedSemaphorePermit) {
        let ctx = self.ctx();
        ctx.bus.publish(Event::Changed(job.row.id)).await;
        let (row, known) = (job.row.clone(), mem::take(&mut job.known));
        let run = self.work.run(row, known, &job.lease.signals);
        let ended = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(ended) => ended,
            Err(_panic) => {
                tracing::error!(deployment.id = job.row.id.0, "a run panicked");
                let reason = Reason::new(Code::Internal, "Slipway itself failed during the run.");
                let retry = RetryPolicy::new(&ctx.settings.queue, None, None);
                Some(Ended {
                    end: RunEnd::Failed(reason),
                    retry,
                    last: Last::default(),
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
        let finish = || run::finish(ctx, &job.row, &ended, db::now());
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
        tracing::info!(deployment.id = job.row.id.0, end = ?ended.end, ?next, "a run ended");
        let lease = Authority::Lease(job.token.clone());
        let told = match next {
            Next::Ended => {
                fail::point("finish.before_index");
                ctx.telling.finish(job.entry, lease).await
            }
            Next::Retry(delay) => {
                fail::point("finish.before_delay");
                let delay = Duration::from_millis(delay);
                let told = ctx.queue.retry(job.entry, &lease, delay).await;
                told.map_err(Error::from)
            }
            Next::Requeue => {
                fail::point("finish.before_return");
                let told = ctx.queue.requeue(job.entry, &lease).await;
                told.map_err(Error::from)
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
