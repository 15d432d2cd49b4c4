//! The audit trail: one entry for each change, in the transaction of the change.
//!
//! An entry carries a proof of its own content from the start; a duty seals entries into a chain
//! that shows removals and reordering too. What this does not show: an entry that somebody with
//! access to the database removes before it is sealed, which takes about a second.

pub mod entity;
pub mod entry;
pub mod line;
mod proof;
pub mod retention;
pub mod seal;
pub mod service;
pub mod store;
pub mod trail;
pub mod verify;
