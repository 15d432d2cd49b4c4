//! The twin of the Redis implementation for a single process.
//!
//! `index` is the protocol as plain data, without clock or waiting; `queue` adds both. It answers
//! exactly as the Redis one does, which the conformance tests check by running both.

mod events;
mod index;
mod queue;

pub use events::MemoryBus;
pub(crate) use events::{BACKLOG, Listener};
pub use queue::{MemoryQueue, Snapshot};
