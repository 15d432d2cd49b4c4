//! The domain of Slipway: what a deployment is, who may do what, and where it is kept.
//!
//! Core opens no socket but the database's and starts no process. It knows neither HTTP nor Redis:
//! the queue and the event bus come in through [`ports`].

pub mod access;
pub mod account;
pub mod audit;
pub mod ctx;
pub mod db;
pub mod deployment;
pub mod error;
pub mod fail;
pub mod field;
pub mod gather;
pub mod health;
pub mod id;
pub mod lock;
pub mod notify;
pub mod pipeline;
pub mod ports;
pub mod process;
pub mod project;
pub mod recovery;
pub mod schema;
pub mod settings;
pub mod ssh;
pub mod start;
pub mod target;
pub mod telemetry;
pub mod variable;
pub mod vault;
mod word;
