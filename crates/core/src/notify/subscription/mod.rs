//! Subscriptions: which events of a project are told in which channels.

pub mod entity;
pub mod filter;
pub mod service;
pub mod store;
