//! Keeping the leases of the deployments that this worker runs.
//!
//! The keeper has a thread, a runtime and a database connection of its own, so that a busy or stuck
//! worker still renews. A lease that was lost, or that could not be renewed for two thirds of its
//! time, is given up here before anybody else may take it: by the monotonic clock, counted from the
//! moment the last successful renewal was sent. The guard ends what does not end by then.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use slipway_core::{
    ctx::Ctx,
    db::Db,
    deployment::store::claim::{Renewed, renew},
    fail,
    id::DeploymentId,
    ports::LeaseToken,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::guard::{Guard, Run};

/// Cancels that are remembered; a claim takes milliseconds.
const EARLY_MAX: usize = 256;

/// The leases of one worker. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Keeper {
    guard: Guard,
    held: Arc<Mutex<BTreeMap<DeploymentId, Held>>>,
    /// Cancels of deployments that were claimed but not kept yet, or are somebody else's.
    early: Arc<Mutex<VecDeque<DeploymentId>>>,
    lease: Duration,
}

#[derive(Clone, Debug)]
struct Held {
    token: LeaseToken,
    signals: Signals,
}

/// How long a lease is good for.
#[derive(Debug)]
struct Term {
    lease: Duration,
    /// When its last successful renewal was sent.
    renewed: Mutex<Instant>,
}

impl Term {
    fn renewed(&self) -> MutexGuard<'_, Instant> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Two thirds of it are gone: the rest is the time in which its processes have to be dead.
    fn is_over(&self) -> bool {
        self.renewed().elapsed() > self.lease * 2 / 3
    }
}

/// What can happen to a run from outside.
#[derive(Clone, Debug)]
pub struct Signals {
    /// The deployment is not ours any more: stop everything and write nothing.
    pub lost: CancellationToken,
    /// Somebody wants the deployment to stop.
    pub cancelled: CancellationToken,
    /// What the guard ends when this process does not.
    pub run: Run,
    term: Arc<Term>,
}

impl Signals {
    /// Whether the run is not ours any more, or may not be by now; such a run is given up at once.
    ///
    /// It asks the clock, as a process that was frozen has not been told of anything yet.
    #[must_use]
    pub fn give_up_if_late(&self) -> bool {
        // The guard's clock goes on while the whole machine sleeps.
        if self.term.is_over() || self.run.is_over() {
            self.lost.cancel();
        }
        self.lost.is_cancelled()
    }
}

/// One lease; dropping it ends its renewal.
#[derive(Debug)]
pub struct Lease {
    keeper: Keeper,
    id: DeploymentId,
    token: LeaseToken,
    /// What can happen to the run from outside.
    pub signals: Signals,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.keeper.lock();
        // The same deployment may have come back to this worker meanwhile, under another token.
        if held
            .get(&self.id)
            .is_some_and(|own| own.token == self.token)
        {
            held.remove(&self.id);
        }
    }
}

impl Keeper {
    /// A keeper that nobody runs yet, for leases that last as long as the settings say.
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        Self {
            guard: Guard::none(),
            held: Arc::default(),
            early: Arc::default(),
            lease: ctx.settings.queue.lease(),
        }
    }

    /// Starts the thread that renews, and tells the guard of it. It ends with `stop`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(ctx: &Ctx, guard: Guard, stop: CancellationToken) -> anyhow::Result<Self> {
        let keeper = Self {
            guard,
            ..Self::new(ctx)
        };
        let (own, ctx) = (keeper.clone(), ctx.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime that renews leases")?;
        thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                let connect = || Db::connect(&ctx.settings.database);
                runtime.block_on(stop.run_until_cancelled(own.run(&ctx, connect)))
            })
            .context("starting the thread that renews leases")?;
        Ok(keeper)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Always taken after the leases themselves.
    fn early(&self) -> MutexGuard<'_, VecDeque<DeploymentId>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to renew the lease of a deployment that was claimed at `claimed`.
    #[must_use]
    pub fn keep(&self, id: DeploymentId, token: LeaseToken, claimed: Instant) -> Lease {
        let signals = Signals {
            lost: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            run: self.guard.run(claimed.elapsed()),
            term: Arc::new(Term {
                lease: self.lease,
                renewed: Mutex::new(claimed),
            }),
        };
        let held = Held {
            token: token.clone(),
            signals: signals.clone(),
        };
        let mut all = self.lock();
        // This worker had it before, was too slow, and has got it again: the run of then is over,
        // though nobody renews its lease any more and so nobody would tell it.
        if let Some(former) = all.insert(id, held) {
            former.signals.lost.cancel();
        }
        let mut early = self.early();
        if let Some(at) = early.iter().position(|other| *other == id) {
            early.remove(at);
            signals.cancelled.cancel();
        }
        drop((early, all));
        Lease {
            keeper: self.clone(),
            id,
            token,
            signals,
        }
    }

    /// When the last successful renewal of a lease was sent; its claim counts as one.
    #[must_use]
    pub fn renewed(&self, id: DeploymentId) -> Option<Instant> {
        let held = self.lock();
        held.get(&id).map(|held| *held.signals.term.renewed())
    }

    /// Passes on that somebody wants a deployment to stop, if this worker runs it.
    pub fn cancel(&self, id: DeploymentId) {
        let held = self.lock();
        if let Some(held) = held.get(&id) {
            held.signals.cancelled.cancel();
            return;
        }
        let mut early = self.early();
        if early.len() == EARLY_MAX {
            early.pop_front();
        }
        early.push_back(id);
    }

    /// Renews and gives up side by side, for ever: a database that does not answer must not delay
    /// the other. Connections come from `connect`, because the keeper shares none with its worker.
    pub async fn run<F>(self, ctx: &Ctx, connect: impl Fn() -> F)
    where
        F: Future<Output = anyhow::Result<Db>>,
    {
        tokio::join!(self.keep_renewing(ctx, connect), self.keep_judging());
    }

    async fn keep_renewing<F>(&self, ctx: &Ctx, connect: impl Fn() -> F)
    where
        F: Future<Output = anyhow::Result<Db>>,
    {
        let tick = self.lease / 30;
        let mut database = None;
        let mut due = Instant::now();
        loop {
            if Instant::now() >= due && !self.lock().is_empty() {
                if self.renew_all(ctx, &mut database, &connect).await {
                    due = Instant::now() + self.lease / 3;
                } else {
                    due = Instant::now() + tick;
                }
            }
            tokio::time::sleep(tick).await;
        }
    }

    async fn keep_judging(&self) {
        loop {
            self.give_up();
            tokio::time::sleep(self.lease / 30).await;
        }
    }

    /// Renews every lease once; false if that has to be tried again soon.
    async fn renew_all<F>(
        &self,
        ctx: &Ctx,
        database: &mut Option<Db>,
        connect: impl Fn() -> F,
    ) -> bool
    where
        F: Future<Output = anyhow::Result<Db>>,
    {
        let sent = Instant::now();
        let leases: Vec<(DeploymentId, LeaseToken)> = self
            .lock()
            .iter()
            .map(|(id, held)| (*id, held.token.clone()))
            .collect();
        let renewal = async {
            let db = match database.take() {
                Some(db) => db,
                None => connect().await?,
            };
            fail::point("renew.before_row");
            let renewed = renew(&db, &leases, self.lease).await?;
            // Kept only after success: a broken connection is replaced by a new one.
            *database = Some(db);
            anyhow::Ok(renewed)
        };
        match tokio::time::timeout(self.lease / 3, renewal).await {
            Ok(Ok(renewed)) => self.take_in(&leases, &renewed, sent),
            Ok(Err(error)) => {
                tracing::warn!(error = ?error, "leases could not be renewed");
                return false;
            }
            Err(_elapsed) => {
                tracing::warn!("renewing leases took too long");
                return false;
            }
        }
        fail::point("renew.before_index");
        // The index only follows; what it does not learn now the reconciler tells it.
        if let Ok(Err(error)) =
            tokio::time::timeout(self.lease / 10, ctx.queue.renew(&leases, self.lease)).await
        {
            tracing::debug!(error = %error, "the queue's leases were not renewed");
        }
        fail::point("renew.after_index");
        true
    }

    fn take_in(&self, asked: &[(DeploymentId, LeaseToken)], renewed: &[Renewed], sent: Instant) {
        let mut held = self.lock();
        for (id, token) in asked {
            let Some(own) = held.get_mut(id).filter(|own| own.token == *token) else {
                continue;
            };
            match renewed.iter().find(|renewed| renewed.id == *id) {
                Some(renewed) => {
                    *own.signals.term.renewed() = sent;
                    own.signals.run.renewed(sent.elapsed());
                    if renewed.cancel {
                        own.signals.cancelled.cancel();
                    }
                }
                // Another worker may be at it already: no time for a request to end.
                None => {
                    own.signals.lost.cancel();
                    own.signals.run.lost();
                }
            }
        }
    }

    /// Gives up what was not renewed for two thirds of a lease.
    fn give_up(&self) {
        for (id, held) in self.lock().iter() {
            if held.signals.term.is_over() && !held.signals.lost.is_cancelled() {
                tracing::error!(
                    deployment.id = id.0,
                    "giving up a lease that was not renewed"
                );
                held.signals.lost.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const ID: DeploymentId = DeploymentId(7);

    fn keeper() -> Keeper {
        Keeper {
            guard: Guard::none(),
            held: Arc::default(),
            early: Arc::default(),
            lease: LEASE,
        }
    }

    fn token(text: &str) -> LeaseToken {
        LeaseToken::from_stored(text)
    }

    #[test]
    fn lease_that_was_not_renewed_for_two_thirds_of_its_time_is_given_up() {
        let keeper = keeper();
        let ago = |span| Instant::now().checked_sub(span).unwrap();
        let old = keeper.keep(ID, token("a"), ago(LEASE * 2 / 3));
        let young = keeper.keep(DeploymentId(8), token("b"), ago(LEASE / 3));
        keeper.give_up();
        assert!(old.signals.lost.is_cancelled());
        assert!(!young.signals.lost.is_cancelled());
    }

    #[test]
    fn run_whose_lease_was_not_renewed_is_given_up_when_it_asks() {
        let keeper = keeper();
        let ago = |span| Instant::now().checked_sub(span).unwrap();
        let lease = keeper.keep(ID, token("a"), ago(LEASE / 3));
        assert!(!lease.signals.give_up_if_late());
        assert!(!lease.signals.lost.is_cancelled());
        let late = keeper.keep(ID, token("b"), ago(LEASE * 2 / 3));
        let renewed = [Renewed {
            id: ID,
            cancel: false,
        }];
        keeper.take_in(&[(ID, token("b"))], &renewed, Instant::now());
        assert!(!late.signals.give_up_if_late());
        keeper.take_in(&[(ID, token("b"))], &renewed, ago(LEASE * 2 / 3));
        assert!(late.signals.give_up_if_late());
        assert!(late.signals.lost.is_cancelled());
    }

    #[test]
    fn renewal_tells_what_was_lost_and_what_is_to_be_cancelled() {
        let keeper = keeper();
        let now = Instant::now();
        let ids = [1, 2, 3].map(DeploymentId);
        let leases = ids.map(|id| keeper.keep(id, token(&id.to_string()), now));
        let asked = ids.map(|id| (id, token(&id.to_string())));
        let renewed = [(ids[0], false), (ids[1], true)].map(|(id, cancel)| Renewed { id, cancel });
        keeper.take_in(&asked, &renewed, now);
        let said = leases.map(|lease| {
            let Signals {
                lost, cancelled, ..
            } = &lease.signals;
            (lost.is_cancelled(), cancelled.is_cancelled())
        });
        assert_eq!(said, [(false, false), (false, true), (true, false)]);
    }

    #[test]
    fn answer_about_an_earlier_lease_does_not_touch_its_successor() {
        let keeper = keeper();
        let lease = keeper.keep(ID, token("new"), Instant::now());
        keeper.take_in(&[(ID, token("old"))], &[], Instant::now());
        assert!(!lease.signals.lost.is_cancelled());
    }

    #[test]
    fn run_whose_deployment_came_back_to_the_same_worker_is_lost() {
        let keeper = keeper();
        let former = keeper.keep(ID, token("old"), Instant::now());
        let current = keeper.keep(ID, token("new"), Instant::now());
        assert!(former.signals.lost.is_cancelled());
        drop(former);
        assert!(!current.signals.lost.is_cancelled());
        assert!(
            keeper.renewed(ID).is_some(),
            "the newer lease is still kept"
        );
    }

    #[test]
    fn cancel_that_came_before_its_lease_is_heard_at_once() {
        let keeper = keeper();
        keeper.cancel(ID);
        let other = keeper.keep(DeploymentId(8), token("other"), Instant::now());
        assert!(!other.signals.cancelled.is_cancelled());
        let lease = keeper.keep(ID, token("its"), Instant::now());
        assert!(lease.signals.cancelled.is_cancelled());
    }

    #[test]
    fn early_cancels_are_not_kept_for_ever() {
        let keeper = keeper();
        for id in 0..1000 {
            keeper.cancel(DeploymentId(id));
        }
        assert_eq!(keeper.early().len(), EARLY_MAX);
    }

    #[test]
    fn deployment_that_came_back_is_kept_when_its_first_run_ends() {
        let keeper = keeper();
        let first = keeper.keep(ID, token("first"), Instant::now());
        let second = keeper.keep(ID, token("second"), Instant::now());
        drop(first);
        keeper.cancel(ID);
        assert!(second.signals.cancelled.is_cancelled());
        drop(second);
        assert!(keeper.lock().is_empty());
    }
}
