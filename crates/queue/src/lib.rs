//! The dispatch index and the event bus, each twice: on Redis, and in one process's memory.
//!
//! This is the only crate that knows the Redis protocol, and both ends of it live here. The index
//! holds ids and nothing else; the database is the truth, so losing the index costs a rebuild and
//! never a deployment. How it works:
//!
//! * Every target has a list of waiting deployments, in order of id. A target is in the list of
//!   *ready* targets, or *busy* with one deployment, or *held* while one waits for a retry. A claim
//!   takes the next ready target and its first entry, so targets take turns, one deployment of a
//!   target runs at a time, and no target waits for another.
//! * A claim leases its entry to a random token. Lost answers are harmless: the same token gets the
//!   same entry again. Leases that run out are given back by whoever claims next.
//! * Every operation is one Lua script and thus atomic; times come from the server's clock. Workers
//!   block on a list of meaningless wake tokens, never on work itself: a popped token that gets
//!   lost delays a deployment until the next poll, a popped deployment would be gone.
//! * One key, the epoch, is written by a completed rebuild. Where it is missing the server has lost
//!   its data, and everything but a rebuild answers [`QueueError::Lost`].
//!
//! [`QueueError::Lost`]: slipway_core::ports::QueueError::Lost

mod keys;
pub mod memory;
mod redis;

use std::sync::Arc;

use slipway_core::{
    ports::{EventBus, JobQueue},
    settings,
};

pub use redis::ConnectError;

/// Most entries that an index takes without force: twice the greatest backlog that can be configured.
/// Only a safeguard for the server's memory; the limit itself is enforced in the database.
pub const HARD_CAP: usize = 2 * settings::Queue::BACKLOG_LIMIT_MAX as usize;

/// One implementation of each port.
#[derive(Clone, Debug)]
pub struct Backends {
    /// The dispatch index.
    pub queue: Arc<dyn JobQueue>,
    /// The event bus.
    pub bus: Arc<dyn EventBus>,
}

/// Connects to Redis. A server that does not answer is no error: this returns within about two
/// seconds, connecting goes on in the background, and calls answer `Unavailable` meanwhile.
///
/// # Errors
/// When the settings cannot work: the password is refused, or the authority file is unusable.
pub async fn connect(settings: &settings::Redis) -> Result<Backends, ConnectError> {
    connect_capped(settings, HARD_CAP).await
}

/// Does what [`connect`] does, with another cap than [`HARD_CAP`].
///
/// # Errors
/// The same as [`connect`].
pub async fn connect_capped(
    settings: &settings::Redis,
    cap: usize,
) -> Result<Backends, ConnectError> {
    redis::connect(settings, cap).await
}

/// An index and a bus for a single process. The index starts lost, as an empty Redis does, so that
/// the same recovery fills it from the database.
#[must_use]
pub fn in_memory() -> Backends {
    Backends {
        queue: Arc::new(memory::MemoryQueue::new(HARD_CAP)),
        bus: Arc::new(memory::MemoryBus::new()),
    }
}
