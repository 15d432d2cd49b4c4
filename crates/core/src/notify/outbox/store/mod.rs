//! What the outbox keeps in the database: events and their deliveries as they are written, taken by
//! senders and recorded; system-only.

pub mod audience;
pub mod compose;
pub mod facts;
mod next;
pub mod queue;
pub mod record;
pub mod watch;

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
