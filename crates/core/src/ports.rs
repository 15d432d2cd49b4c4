//! What core asks of the dispatch index and of the event bus.
//!
//! Both have exactly two implementations, in `slipway-queue`: Redis, and a twin in memory.
//! The database is the truth; whatever sits behind these traits may be wiped at any time and is
//! put right again by `recovery`. Nothing but ids passes through here.

use std::{collections::HashMap, fmt, slice, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
};

/// Why the dispatch index did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The index cannot be reached, or refuses writes. Nothing is known about the last command.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The index has lost its data since the last rebuild; only a rebuild helps.
    #[error("the queue has lost its data and waits for a rebuild")]
    Lost,
    /// The index answered something that this version does not understand.
    #[error("the queue answered something unexpected: {0}")]
    Protocol(String),
}

/// The random proof that a claimer holds a deployment, 32 lowercase hex characters.
///
/// The same token is written to the database row, so either side can tell whose lease it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LeaseToken(String);

impl LeaseToken {
    /// Draws a fresh token from the operating system.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// Takes a token that was read back from storage.
    #[must_use]
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token as text, for storage.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseToken({}..)", self.0.get(..6).unwrap_or_default())
    }
}

/// Who says that an entry may be taken away or moved.
#[derive(Clone, Debug)]
pub enum Authority {
    /// The holder of the lease.
    Lease(LeaseToken),
    /// The database row says so, whoever holds the lease.
    Database,
}

/// A deployment as the index knows it. Its id is its place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The deployment.
    pub id: DeploymentId,
    /// Deployments of one target run one at a time, in order of id.
    pub target: TargetId,
    /// How it competes with other targets' deployments when it is its target's next.
    pub priority: Priority,
}

/// The deployment that keeps others of its target from being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Some worker has it.
    Leased(DeploymentId),
    /// It waits for its time.
    Delayed(DeploymentId),
}

impl Holder {
    /// Which one it is.
    #[must_use]
    pub fn id(self) -> DeploymentId {
        match self {
            Self::Leased(id) | Self::Delayed(id) => id,
        }
    }
}

/// What became of [`JobQueue::enqueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It waits for a worker now.
    Added {
        /// Its place in its target's line as the index knows it; 1 is the next one.
        place: u64,
        /// What its target is busy with.
        holder: Option<Holder>,
    },
    /// It was in the index already, and stays where it is.
    Duplicate,
    /// The index holds as many as it may. The row stays queued and the reconciler pushes it later.
    Full,
}

/// What [`JobQueue::claim_many`] found for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This entry is leased to the token.
    Entry(Entry),
    /// Nothing may run now; the next delayed entry is due in this long, if there is one.
    Empty(Option<Duration>),
    /// As many deployments are running everywhere as may.
    Busy,
}

/// What became of a write that names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Done.
    Done,
    /// Another token holds the entry; nothing changed.
    Stale,
    /// The entry was not in the index; nothing changed.
    Gone,
}

/// Claims in a row that may go past a ready priority to more urgent ones.
pub const PASSED_OVER_MAX: u32 = 3;

/// Where an entry of the index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not in the index.
    Absent,
    /// In its target's list.
    Pending,
    /// Held back until its time comes; its target is held with it.
    Delayed,
    /// Leased to somebody.
    Leased,
    /// Known, but in no list: left by a fault; to be finished and added again.
    Adrift,
}

/// The dispatch index: per-target lists, a round of ready targets, leases and delays.
///
/// Every operation is atomic and gives the same end when repeated with the same arguments.
#[async_trait]
pub trait JobQueue: Send + Sync + fmt::Debug {
    /// The same index for a thread with a runtime of its own, which this has to be called on: over
    /// another thread's connection every answer would wake two threads. Nothing where that makes no
    /// difference.
    fn apart(&self) -> Option<Arc<dyn JobQueue>> {
        None
    }

    /// Adds an entry to its target's list, in order of id. `force` passes the hard cap. One that
    /// is in the index already only gets the priority that is named here.
    async fn enqueue(&self, entry: Entry, force: bool) -> Result<Enqueued, QueueError> {
        only(self.enqueue_all(&[entry], force).await?)
    }

    /// The same for several entries, one after the other; answers in their order.
    async fn enqueue_all(
        &self,
        entries: &[Entry],
        force: bool,
    ) -> Result<Vec<Enqueued>, QueueError>;

    /// Leases the next entries for `ttl`, one to each token, and answers in their order what each has.
    /// A token that already holds one gets the same one again.
    ///
    /// Targets of the most urgent priority go first, but while another one is ready it is passed
    /// over [`PASSED_OVER_MAX`] times in a row at most, once more when two are due together.
    /// Targets of one priority take turns.
    async fn claim_many(
        &self,
        tokens: &[LeaseToken],
        ttl: Duration,
        max_running: u32,
    ) -> Result<Vec<Claimed>, QueueError>;

    /// The same for one token.
    async fn claim(
        &self,
        token: &LeaseToken,
        ttl: Duration,
        max_running: u32,
    ) -> Result<Claimed, QueueError> {
        let tokens = slice::from_ref(token);
        only(self.claim_many(tokens, ttl, max_running).await?)
    }

    /// Takes an entry out for good and frees its target.
    async fn finish(&self, entry: Entry, by: &Authority) -> Result<Released, QueueError> {
        only(self.finish_all(&[(entry, by.clone())]).await?)
    }

    /// The same for several entries, one after the other; answers in their order.
    async fn finish_all(&self, entries: &[(Entry, Authority)])
    -> Result<Vec<Released>, QueueError>;

    /// Puts a leased entry back for `delay`; its target stays held meanwhile.
    async fn retry(
        &self,
        entry: Entry,
        by: &Authority,
        delay: Duration,
    ) -> Result<Released, QueueError>;

    /// Puts a leased entry back into its target's list at once.
    async fn requeue(&self, entry: Entry, by: &Authority) -> Result<Released, QueueError>;

    /// Records that the database says this entry is running under `token` for `ttl` more.
    async fn hold(&self, entry: Entry, token: &LeaseToken, ttl: Duration)
    -> Result<(), QueueError>;

    /// Extends leases; answers those that are no longer the caller's.
    async fn renew(
        &self,
        leases: &[(DeploymentId, LeaseToken)],
        ttl: Duration,
    ) -> Result<Vec<DeploymentId>, QueueError>;

    /// Recomputes a target's state from its lists; true if something was wrong.
    async fn repair(&self, target: TargetId) -> Result<bool, QueueError>;

    /// Where each of these entries stands.
    async fn places(
        &self,
        ids: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Place>, QueueError>;

    /// Every entry of the index, up to `limit`, for the reconciler.
    async fn entries(&self, limit: usize) -> Result<Vec<Entry>, QueueError>;

    /// Targets that the index has a state for.
    async fn targets(&self) -> Result<Vec<TargetId>, QueueError>;

    /// Begins a rebuild of a lost index: false if another process is at it, which counts as dead
    /// after five seconds without a step. What was left of the old index is deleted.
    async fn begin_rebuild(&self) -> Result<bool, QueueError>;

    /// Adds an entry during a rebuild, when every other call answers [`QueueError::Lost`].
    async fn restore(
        &self,
        entry: Entry,
        lease: Option<(&LeaseToken, Duration)>,
    ) -> Result<(), QueueError>;

    /// Ends a rebuild; claims work again from here on.
    async fn end_rebuild(&self) -> Result<(), QueueError>;

    /// Writes and reads back a probe: a server that answers but takes no write is unhealthy.
    /// [`QueueError::Lost`] when it takes writes but has lost its data.
    async fn probe(&self) -> Result<(), QueueError>;

    /// Waits until something may be claimable, or for `timeout`. Only a hint.
    async fn wait_for_work(&self, timeout: Duration);

    /// How many entries there are, running ones included.
    async fn depth(&self) -> Result<u64, QueueError>;
}

/// The answer for the only one that was asked about.
fn only<T>(answers: Vec<T>) -> Result<T, QueueError> {
    let none = || QueueError::Protocol("an entry without an answer".to_owned());
    answers.into_iter().next().ok_or_else(none)
}

/// A hint that something changed; the receiver reads the database to learn what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deployment's log has lines up to this sequence number.
    Log(DeploymentId, i64),
    /// The deployment's status or one of its steps changed.
    Changed(DeploymentId),
    /// Somebody asked for this deployment to be cancelled.
    Cancel(DeploymentId),
}

/// A stream of hints that may lose some: [`Received::Lagged`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// One hint.
    Event(Event),
    /// Hints were lost (a slow reader, or a lost connection): reread what you care about.
    Lagged,
}

/// The receiving end of the bus.
#[async_trait]
pub trait Subscription: Send + fmt::Debug {
    /// The next hint. Never ends; it waits for ever when the bus is down.
    async fn next(&mut self) -> Received;
}

/// Live hints from workers to API processes and back. Losing one costs a delay, nothing else.
#[async_trait]
pub trait EventBus: Send + Sync + fmt::Debug {
    /// Sends a hint. Never fails: a bus that is down drops it.
    async fn publish(&self, event: Event);

    /// Starts to listen; hints sent after this call returns are received.
    async fn subscribe(&self) -> Box<dyn Subscription>;
}
