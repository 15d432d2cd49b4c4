//! Plain values that steps receive. A target's own value wins over its project's.

pub mod entity;
pub mod service;
pub mod store;
