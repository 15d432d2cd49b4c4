//! Counts the changes of what requests to deploy are decided on: accounts, their tokens and roles,
//! projects, targets, locks, and which events anybody is told of.
//!
//! A request may be decided on what an earlier one saw, and is then accepted only if nothing was
//! counted since. So whoever writes such a fact has to show that it is counted in the same
//! transaction. What is deleted needs no count where the database itself refuses a deployment of it.

use sea_orm::{ConnectionTrait, Statement};

use crate::{db::broken, error::Result};

/// Proof that a transaction counts as a change.
#[derive(Debug)]
pub struct Counted(());

/// Counts a change. It has to come before its transaction holds rows of projects or targets: an
/// admission holds the same row while it waits for those.
///
/// # Errors
/// When the database fails.
pub async fn count(tx: &impl ConnectionTrait) -> Result<Counted> {
    let sql = "UPDATE queue_gate SET revision = revision + 1 WHERE id = 1";
    let counted = Statement::from_string(tx.get_database_backend(), sql);
    if tx.execute_raw(counted).await?.rows_affected() != 1 {
        return Err(broken("the row of queue_gate is missing"));
    }
    Ok(Counted(()))
}

/// How often something has changed. Whoever remembers what comes with it has to ask this first.
///
/// # Errors
/// When the database fails.
pub async fn current(conn: &impl ConnectionTrait) -> Result<i64> {
    let sql = "SELECT revision FROM queue_gate WHERE id = 1";
    let asked = Statement::from_string(conn.get_database_backend(), sql);
    let row = conn.query_one_raw(asked).await?;
    let row = row.ok_or_else(|| broken("the row of queue_gate is missing"))?;
    Ok(row.try_get_by_index(0)?)
}
