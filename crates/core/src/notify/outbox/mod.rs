//! What is written with a change of state so that workers tell of it later; system-only.
//!
//! It sends nothing. Which channels are told is decided here, when the event is written. A project
//! that nobody listens to is asked for nothing: which events anybody wants stands beside it.

pub mod audience;
pub mod compose;
pub mod deployment;
pub mod facts;
pub mod lock;
pub mod queue;
pub mod record;
pub mod watch;

use sea_orm::ConnectionTrait;

use crate::error::Result;
use compose::Item;
use deployment::{Happening, mask};

/// Writes events and who is told of them.
///
/// # Errors
/// When the database fails.
pub async fn write(tx: &impl ConnectionTrait, items: &[Item]) -> Result<()> {
    for statement in compose::statements(tx.get_database_backend(), items)? {
        tx.execute_raw(statement).await?;
    }
    Ok(())
}

/// Whether anybody may be told of it, as it stands beside its project.
#[must_use]
pub fn is_heard(told: i64, happening: &Happening) -> bool {
    told & mask(&happening.events) != 0
}

/// Writes who is told of these, in the transaction of their change.
///
/// # Errors
/// When the database fails.
pub async fn record(tx: &impl ConnectionTrait, happenings: &[Happening]) -> Result<()> {
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
        Some(happening) if is_heard(told, &happening) => record(tx, &[happening]).await,
        _ => Ok(()),
    }
}
