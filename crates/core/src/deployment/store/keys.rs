//! Idempotency-Keys that are out of date.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::{
    deployment::entity::idempotency_key::{Column, Entity},
    error::Result,
};

/// Rows that one statement removes: others write to the table meanwhile.
const BATCH: u64 = 500;

/// Removes some keys that are older than this; 0 when there are none.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<u64> {
    // The first ones are the oldest. Asking for old ones would read all when there is none.
    let first: Vec<(i64, DateTime<Utc>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::CreatedAt])
        .order_by_asc(Column::Id)
        .limit(BATCH)
        .into_tuple()
        .all(conn)
        .await?;
    let old = first.into_iter().filter(|(_, at)| *at < before);
    let old: Vec<i64> = old.map(|(id, _)| id).collect();
    if old.is_empty() {
        return Ok(0);
    }
    let removed = Entity::delete_many()
        .filter(Column::Id.is_in(old))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}
