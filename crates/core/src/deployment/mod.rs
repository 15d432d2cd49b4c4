//! Deployments: the state machine, the door, the queue's truth, the log.

mod accept;
pub mod admission;
pub mod batches;
pub mod brief;
pub mod by_token;
pub mod detail;
pub mod entity;
pub mod line;
pub mod priority;
pub mod queue;
pub mod queue_place;
pub mod reason;
pub mod release;
mod request;
pub mod run;
pub mod service;
pub mod status;
pub mod step;
pub mod store;
pub mod telling;
pub mod trigger;
