//! What is written with a change of state so that workers tell of it later; system-only.
//!
//! It sends nothing. Which channels are told is decided here, when the event is written. A project
//! that nobody listens to is asked for nothing: which events anybody wants stands beside it.

pub mod deployment;
pub mod lock;
pub mod store;

use sea_orm::ConnectionTrait;

pub use store::{audience, compose, facts, queue, record, watch, write};

use crate::error::Result;
use deployment::{Happening, mask};

/// Whether anybody may be told of it, as it stands beside its project.
#[must_use]
pub fn is_heard(told: i64, happening: &Happening) -> bool {
    told & mask(&happening.events) != 0
}

/// Writes who is told of these, in the transaction of their change.
///
/// # Errors
/// When the database fails.
pub async fn note(tx: &impl ConnectionTrait, happenings: &[Happening]) -> Result<()> {
    if happenings.is_empty() {
        return Ok(());
    }
    write(tx, &deployment::items(tx, happenings).await?).await
}

/// The same for what may be nothing, of a project that may have no listeners.
///
/// # Errors
/// When the database fails.
pub async fn tell(
    tx: &impl ConnectionTrait,
    told: i64,
    happening: Option<Happening>,
) -> Result<()> {
    match happening {
        Some(happening) if is_heard(told, &happening) => note(tx, &[happening]).await,
        _ => Ok(()),
    }
}
