//! Secrets: encrypted at rest, each bound to its row; written by people, read only by runs.
//!
//! A secret's plain text exists only here and in the environment of the step that needs it.
//! Everything else that is encrypted goes through [`sealed`] too.

pub mod cipher;
pub mod entity;
pub mod key;
pub mod load;
pub mod ring;
pub mod rotation;
pub mod sealed;
pub mod service;
pub mod store;
pub mod usage;
pub mod value;
