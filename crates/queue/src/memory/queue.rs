//! The dispatch index for a single process: the plain index behind a lock, a clock and a bell.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use slipway_core::{
    id::{DeploymentId, TargetId},
    ports::{
        Authority, Claimed, Enqueued, Entry, JobQueue, LeaseToken, Place, QueueError, Released,
    },
};
use tokio::{sync::Notify, time::Instant};

use super::index::Index;

/// The longest time that anything is put off by; it keeps sums of times in range.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A dispatch index that lives and dies with its process.
#[derive(Debug)]
pub struct MemoryQueue {
    index: Mutex<Index>,
    ready: Notify,
    cap: usize,
}

/// What an index held at some moment.
#[derive(Clone, Debug)]
pub struct Snapshot(Index);

impl MemoryQueue {
    /// An index that has lost its data, as an empty Redis has; `cap` is the most it takes unforced.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self {
            index: Mutex::default(),
            ready: Notify::new(),
            cap,
        }
    }

    /// Forgets everything, as a Redis without persistence does when it restarts.
    pub fn wipe(&self) {
        *self.lock() = Index::default();
    }

    /// What it holds now, to come back to.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.lock().clone())
    }

    /// Goes back to what it held earlier, as a Redis does that restarts from an old file.
    pub fn roll_back(&self, earlier: &Snapshot) {
        *self.lock() = earlier.0.clone();
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // Every change is complete before anything in it could panic, so the data is sound.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation, unless the data is lost, and rings if it leaves something to claim.
    fn run<T>(&self, operation: impl FnOnce(&mut Index) -> T) -> Result<T, QueueError> {
        let mut index = self.lock();
        index.check()?;
        let answer = operation(&mut index);
        if index.has_ready() {
            self.ready.notify_one();
        }
        Ok(answer)
    }
}

fn after(delay: Duration) -> Instant {
    Instant::now() + delay.min(FAR)
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn enqueue_all(
        &self,
        entries: &[Entry],
        force: bool,
    ) -> Result<Vec<Enqueued>, QueueError> {
        let cap = (!force).then_some(self.cap);
        self.run(|index| {
            let each = entries.iter();
            each.map(|entry| index.enqueue(*entry, cap)).collect()
        })
    }

    async fn claim_many(
        &self,
        tokens: &[LeaseToken],
        ttl: Duration,
        max_running: u32,
    ) -> Result<Vec<Claimed>, QueueError> {
        let now = Instant::now();
        self.run(|index| index.claim_many(tokens, ttl.min(FAR), max_running, now))
    }

    async fn finish_all(
        &self,
        entries: &[(Entry, Authority)],
    ) -> Result<Vec<Released>, QueueError> {
        self.run(|index| {
            let each = entries.iter();
            each.map(|(entry, by)| index.finish(entry.id, by)).collect()
        })
    }

    async fn retry(
        &self,
        entry: Entry,
        by: &Authority,
        delay: Duration,
    ) -> Result<Released, QueueError> {
        self.run(|index| index.retry(entry.id, by, after(delay)))
    }

    async fn requeue(&self, entry: Entry, by: &Authority) -> Result<Released, QueueError> {
        self.run(|index| index.requeue(entry.id, by))
    }

    async fn hold(
        &self,
        entry: Entry,
        token: &LeaseToken,
        ttl: Duration,
    ) -> Result<(), QueueError> {
        self.run(|index| index.hold(entry, token, after(ttl)))
    }

    async fn renew(
        &self,
        leases: &[(DeploymentId, LeaseToken)],
        ttl: Duration,
    ) -> Result<Vec<DeploymentId>, QueueError> {
        let expires = after(ttl);
        self.run(|index| {
            let lost = leases
                .iter()
                .filter(|(id, token)| !index.renew(*id, token, expires));
            lost.map(|(id, _)| *id).collect()
        })
    }

    async fn repair(&self, target: TargetId) -> Result<bool, QueueError> {
        self.run(|index| index.repair(target))
    }

    async fn places(
        &self,
        ids: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Place>, QueueError> {
        self.run(|index| ids.iter().map(|id| (*id, index.place(*id))).collect())
    }

    async fn entries(&self, limit: usize) -> Result<Vec<Entry>, QueueError> {
        self.run(|index| index.entries(limit))
    }

    async fn targets(&self) -> Result<Vec<TargetId>, QueueError> {
        self.run(|index| index.targets())
    }

    async fn begin_rebuild(&self) -> Result<bool, QueueError> {
        Ok(self.lock().begin_rebuild(Instant::now()))
    }

    async fn restore(
        &self,
        entry: Entry,
        lease: Option<(&LeaseToken, Duration)>,
    ) -> Result<(), QueueError> {
        let lease = lease.map(|(token, ttl)| (token, after(ttl)));
        self.lock().restore(entry, lease, Instant::now())
    }

    async fn end_rebuild(&self) -> Result<(), QueueError> {
        let mut index = self.lock();
        index.end_rebuild(Instant::now())?;
        if index.has_ready() {
            self.ready.notify_one();
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        self.lock().check()
    }

    async fn wait_for_work(&self, timeout: Duration) {
        // Running out of time is as good an answer as the bell.
        let _ = tokio::time::timeout(timeout, self.ready.notified()).await;
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        self.run(|index| u64::try_from(index.depth()).unwrap_or(u64::MAX))
    }
}
