//! Targets: the places that deployments go to.

pub mod entity;
pub mod service;
pub mod store;
pub mod strategy;
