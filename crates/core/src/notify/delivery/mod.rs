//! Deliveries: one message for one channel each, and what has become of it.

pub mod entity;
pub mod service;
pub mod state;
pub mod store;
