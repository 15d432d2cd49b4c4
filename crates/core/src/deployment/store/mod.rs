//! Everything that deployments keep in the database. Free functions over a connection, so that each
//! works inside a transaction and outside of one. They ask nobody for permission: system-only.

mod accepted;
pub mod admission;
pub mod apply;
pub mod claim;
pub mod ending;
pub mod gate;
pub mod keys;
pub mod log;
pub mod open;
mod plain;
pub mod premise;
pub mod read;
pub mod release;
pub mod revision;
pub mod scene;
pub mod snapshot;
pub mod step;
mod take;

pub use apply::{Guard, apply, leave};
