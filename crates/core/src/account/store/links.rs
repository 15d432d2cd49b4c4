//! One-time links to set a password; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use crate::{
    account::entity::link::{ActiveModel, Column, Entity, Model},
    error::Result,
    id::UserId,
};

/// Makes a link in the place of an account's earlier ones.
///
/// # Errors
/// When the database fails.
pub async fn replace(tx: &impl ConnectionTrait, user: UserId, values: ActiveModel) -> Result<()> {
    delete_of(tx, user).await?;
    Entity::insert(values).exec_without_returning(tx).await?;
    Ok(())
}

/// Ends an account's links.
///
/// # Errors
/// When the database fails.
pub async fn delete_of(tx: &impl ConnectionTrait, user: UserId) -> Result<()> {
    Entity::delete_many()
        .filter(Column::UserId.eq(user))
        .exec(tx)
        .await?;
    Ok(())
}

/// The link of this hash.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, hash: &str) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::TokenHash.eq(hash))
        .one(conn)
        .await?)
}

/// Uses a link up; false when somebody else has.
///
/// # Errors
/// When the database fails.
pub async fn take(tx: &impl ConnectionTrait, id: i64) -> Result<bool> {
    Ok(Entity::delete_by_id(id).exec(tx).await?.rows_affected == 1)
}

/// Removes links that have expired.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64> {
    let removed = Entity::delete_many()
        .filter(Column::ExpiresAt.lte(now))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}
