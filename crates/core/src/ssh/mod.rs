//! How runs reach repositories over SSH: key pairs that Slipway makes for a project or one of its
//! targets, and the host keys of the servers that it trusts.
//!
//! A private key exists encrypted, and in a worker's memory while it fetches; nothing shows it and
//! nothing writes it into a file. Talking SSH is not done here.

pub mod entity;
pub mod host;
pub mod key;
pub mod service;
pub mod store;
