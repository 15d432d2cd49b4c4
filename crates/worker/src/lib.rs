//! What a deployment does to the world: processes, checkouts, release folders, health checks.
//!
//! [`runner`] takes deployments and [`deploy`] runs one; below them lie parts that know neither the
//! database nor the queue, are told what to do with plain arguments and answer with plain values.

mod cgroup;
pub mod deploy;
pub mod exec;
pub mod git;
pub mod guard;
pub mod health;
pub mod instance;
pub mod lease;
mod neighbours;
pub mod notify;
pub mod output;
pub mod release;
pub mod runner;
pub mod start;
mod taking;
