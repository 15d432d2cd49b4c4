//! Channels: places within a provider that messages go to.

pub mod entity;
pub mod service;
pub mod store;
pub mod trial;
