//! Key versions in the database; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::entity::{ActiveModel, Column, Entity, KeyState, Model};
use crate::{db::broken, error::Result, vault::cipher::Sealed};

/// Every key version, rising.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .order_by_asc(Column::KeyVersion)
        .all(conn)
        .await?)
}

/// The same, and nobody else changes them, or encrypts with one, before the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn lock_all(tx: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .order_by_asc(Column::KeyVersion)
        .lock_exclusive()
        .all(tx)
        .await?)
}

/// The active version, which stays that until the transaction ends.
///
/// # Errors
/// When there is none, or the database fails.
pub async fn lock_active(tx: &impl ConnectionTrait) -> Result<i32> {
    let locked = lock_all(tx).await?;
    active_of(&locked).ok_or_else(|| broken("no master key is active"))
}

/// The active one among these.
#[must_use]
pub fn active_of(keys: &[Model]) -> Option<i32> {
    let active = keys.iter().find(|row| row.state == KeyState::Active)?;
    i32::try_from(active.key_version).ok()
}

/// A key version.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, version: i32) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::KeyVersion.eq(i64::from(version)))
        .one(conn)
        .await?)
}

/// Keeps the check value of a new key version.
///
/// # Errors
/// When another process was first, or the database fails.
pub async fn insert(
    conn: &impl ConnectionTrait,
    version: i32,
    check: &Sealed,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        key_version: Set(i64::from(version)),
        algorithm: Set(check.alg.as_str().to_owned()),
        nonce: Set(check.nonce.to_vec()),
        ciphertext: Set(check.ciphertext.clone()),
        created_at: Set(now),
        state: Set(KeyState::Ready),
        ..ActiveModel::default()
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

/// Makes this version the active one, and the former one ready.
///
/// # Errors
/// When the database fails.
pub async fn activate(tx: &impl ConnectionTrait, version: i32, now: DateTime<Utc>) -> Result<()> {
    Entity::update_many()
        .set(ActiveModel {
            state: Set(KeyState::Ready),
            ..ActiveModel::default()
        })
        .filter(Column::State.eq(KeyState::Active))
        .exec(tx)
        .await?;
    Entity::update_many()
        .set(ActiveModel {
            state: Set(KeyState::Active),
            activated_at: Set(Some(now)),
            ..ActiveModel::default()
        })
        .filter(Column::KeyVersion.eq(i64::from(version)))
        .exec(tx)
        .await?;
    Ok(())
}

/// Takes this version out of use for good.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &impl ConnectionTrait, version: i32, now: DateTime<Utc>) -> Result<()> {
    Entity::update_many()
        .set(ActiveModel {
            state: Set(KeyState::Retired),
            retired_at: Set(Some(now)),
            ..ActiveModel::default()
        })
        .filter(Column::KeyVersion.eq(i64::from(version)))
        .exec(tx)
        .await?;
    Ok(())
}
