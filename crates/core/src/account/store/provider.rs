//! Who the identity provider's people are here, and sign-ins under way there; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
};

use crate::{
    account::{
        entity::{identity, provider_start, user},
        provider::Identity,
    },
    error::Result,
    id::UserId,
};

/// Whose account the provider's person has.
///
/// # Errors
/// When the database fails.
pub async fn find_owner(
    conn: &impl ConnectionTrait,
    issuer: &str,
    subject: &str,
) -> Result<Option<user::Model>> {
    let found = identity::Entity::find()
        .filter(identity::Column::Issuer.eq(issuer))
        .filter(identity::Column::Subject.eq(subject))
        .one(conn)
        .await?;
    match found {
        Some(row) => super::find_user(conn, row.user_id).await,
        None => Ok(None),
    }
}

/// Whether the account is that of somebody of the provider's.
///
/// # Errors
/// When the database fails.
pub async fn has_identity(conn: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    let found = identity::Entity::find()
        .filter(identity::Column::UserId.eq(user))
        .one(conn)
        .await?;
    Ok(found.is_some())
}

/// Says whose account the provider's person has from now on.
///
/// # Errors
/// When somebody else has said so, or the database fails.
pub async fn insert_identity(
    tx: &impl ConnectionTrait,
    known: &Identity,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<()> {
    let values = identity::ActiveModel {
        user_id: Set(user),
        issuer: Set(known.issuer.clone()),
        subject: Set(known.subject.clone()),
        created_at: Set(now),
        ..identity::ActiveModel::default()
    };
    identity::Entity::insert(values)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Keeps a sign-in that has gone to the provider.
///
/// # Errors
/// When the database fails.
pub async fn insert_start(
    conn: &impl ConnectionTrait,
    values: provider_start::ActiveModel,
) -> Result<()> {
    provider_start::Entity::insert(values)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// The sign-in of this hash.
///
/// # Errors
/// When the database fails.
pub async fn find_start(
    conn: &impl ConnectionTrait,
    hash: &str,
) -> Result<Option<provider_start::Model>> {
    Ok(provider_start::Entity::find()
        .filter(provider_start::Column::TokenHash.eq(hash))
        .one(conn)
        .await?)
}

/// Takes it up; false when somebody else has.
///
/// # Errors
/// When the database fails.
pub async fn take_start(conn: &impl ConnectionTrait, id: i64) -> Result<bool> {
    let deleted = provider_start::Entity::delete_by_id(id).exec(conn).await?;
    Ok(deleted.rows_affected == 1)
}

/// Removes those that came back too late, or never.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64> {
    let removed = provider_start::Entity::delete_many()
        .filter(provider_start::Column::ExpiresAt.lte(now))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}
