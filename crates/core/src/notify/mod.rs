//! Telling people what happened: what is told, and what a service that carries it has to be able to.
//!
//! Nothing here sends anything. The services themselves are in `slipway-notify`, one file each.

pub mod event;
pub mod notice;
pub mod provider;

pub use event::Event;
pub use notice::Notice;
pub use provider::{Field, FieldKind, Parcel, Provider, Registry, Values, Verdict};
