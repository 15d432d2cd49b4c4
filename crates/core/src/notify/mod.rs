//! Telling people what happened: what is told, and what a service that carries it has to be able to.
//!
//! Nothing here sends anything. The services themselves are in `slipway-notify`, one file each.

pub mod channel;
pub mod credentials;
pub mod delivery;
pub mod event;
pub mod form;
pub mod notice;
pub mod outbox;
pub mod provider;
pub mod subscription;

pub use event::Event;
pub use notice::Notice;
pub use provider::{Field, FieldKind, Parcel, Provider, Registry, Values, Verdict};
