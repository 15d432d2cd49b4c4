//! Wrong passwords by account; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use crate::{
    account::entity::throttle::{ActiveModel, Column, Entity, Model},
    error::Result,
};

/// What is known of an account, held until the transaction ends. A row is made first, because one
/// that does not exist holds nobody up.
///
/// # Errors
/// When the database fails.
pub async fn find_locked(
    tx: &impl ConnectionTrait,
    account: &str,
    now: DateTime<Utc>,
) -> Result<Option<Model>> {
    let row = ActiveModel {
        account_hash: Set(account.to_owned()),
        failures: Set(0),
        blocked_until: Set(now),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    let same = OnConflict::column(Column::AccountHash)
        .value(Column::Failures, Expr::col((Entity, Column::Failures)))
        .to_owned();
    Entity::insert(row)
        .on_conflict(same)
        .exec_without_returning(tx)
        .await?;
    Ok(Entity::find()
        .filter(Column::AccountHash.eq(account))
        .lock_exclusive()
        .one(tx)
        .await?)
}

/// Writes how often it failed, and until when nobody may try.
///
/// # Errors
/// When the database fails.
pub async fn put(
    tx: &impl ConnectionTrait,
    account: &str,
    failures: i64,
    blocked_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = ActiveModel {
        account_hash: Set(account.to_owned()),
        failures: Set(failures),
        blocked_until: Set(blocked_until),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    let again = OnConflict::column(Column::AccountHash)
        .update_columns([Column::Failures, Column::BlockedUntil, Column::UpdatedAt])
        .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Forgets an account's failures.
///
/// # Errors
/// When the database fails.
pub async fn clear(conn: &impl ConnectionTrait, account: &str) -> Result<()> {
    Entity::delete_many()
        .filter(Column::AccountHash.eq(account))
        .exec(conn)
        .await?;
    Ok(())
}

/// Forgets those that have not been tried for long.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<u64> {
    let removed = Entity::delete_many()
        .filter(Column::UpdatedAt.lt(before))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}
