//! What is written with a change of state so that workers tell of it later; system-only.
//!
//! It sends nothing. Which channels are told is decided here, when the event is written.

pub mod compose;

use sea_orm::ConnectionTrait;

use crate::error::Result;
use compose::Item;

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
