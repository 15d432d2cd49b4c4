//! The domain of Slipway: what a deployment is, who may do what, and where it is kept.
//!
//! Core opens no socket but the database's and starts no process. It knows neither HTTP nor Redis:
//! the queue and the event bus come in through [`ports`].

pub mod account;
pub mod id;
pub mod pipeline;
pub mod ports;
pub mod settings;
pub mod telemetry;
pub mod vault;
