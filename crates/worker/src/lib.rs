//! What a deployment does to the world: processes, checkouts, release folders, health checks.
//!
//! These parts know neither the database nor the queue; they are told what to do with plain
//! arguments and answer with plain values.

pub mod exec;
pub mod git;
pub mod health;
pub mod output;
pub mod redact;
pub mod release;
pub mod terminal;
