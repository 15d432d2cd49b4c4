//! Projects: what is deployed, by whose leave, and from where.

pub mod entity;
pub mod policy;
pub mod repository;
pub mod service;
pub mod store;
