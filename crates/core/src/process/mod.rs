//! The processes that make up an installation: each says that it lives, what it is, and what it has
//! counted, so that any API process can show all of them.

pub mod counters;
pub mod duty;
pub mod entity;
pub mod me;
pub mod service;
pub mod store;
