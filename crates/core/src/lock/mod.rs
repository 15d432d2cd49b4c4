//! Locks: what they cover starts nothing. Requests are accepted all the same, and wait.

pub mod covering;
pub mod entity;
pub mod service;
pub mod store;
