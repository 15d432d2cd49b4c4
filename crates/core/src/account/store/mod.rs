//! Accounts and sessions in the database; system-only.

pub mod factors;
pub mod links;
pub mod provider;
pub mod standing;
pub mod throttles;
mod tokens;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

pub use tokens::{KnownToken, delete_token, find_tokens, insert_token, list_tokens, touch_token};

use super::entity::{session, user};
use crate::{
    access::SystemRole,
    account::kind::UserKind,
    deployment::store::revision::Counted,
    error::Result,
    id::{SessionId, UserId},
};

/// The account with this id.
///
/// # Errors
/// When the database fails.
pub async fn find_user(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<user::Model>> {
    Ok(user::Entity::find_by_id(id).one(conn).await?)
}

/// The account with this normalised address.
///
/// # Errors
/// When the database fails.
pub async fn find_user_by_email(
    conn: &impl ConnectionTrait,
    email_key: &str,
) -> Result<Option<user::Model>> {
    Ok(user::Entity::find()
        .filter(user::Column::EmailKey.eq(email_key))
        .one(conn)
        .await?)
}

/// These accounts.
///
/// # Errors
/// When the database fails.
pub async fn find_users(conn: &impl ConnectionTrait, ids: &[UserId]) -> Result<Vec<user::Model>> {
    Ok(user::Entity::find()
        .filter(user::Column::Id.is_in(ids.iter().copied()))
        .all(conn)
        .await?)
}

/// Accounts in order of id, above `after`.
///
/// # Errors
/// When the database fails.
pub async fn list_users(
    conn: &impl ConnectionTrait,
    after: UserId,
    limit: u64,
) -> Result<Vec<user::Model>> {
    Ok(user::Entity::find()
        .filter(user::Column::Id.gt(after))
        .order_by_asc(user::Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// How many accounts there are.
///
/// # Errors
/// When the database fails.
pub async fn count_users(conn: &impl ConnectionTrait) -> Result<u64> {
    Ok(user::Entity::find().count(conn).await?)
}

/// How many Admins can sign in.
///
/// # Errors
/// When the database fails.
pub async fn count_admins(conn: &impl ConnectionTrait) -> Result<u64> {
    Ok(user::Entity::find()
        .filter(user::Column::Role.eq(SystemRole::Admin))
        .filter(user::Column::Kind.eq(UserKind::Person))
        .filter(user::Column::PasswordHash.ne(""))
        .filter(user::Column::DisabledAt.is_null())
        .count(conn)
        .await?)
}

/// Inserts an account and answers it.
///
/// # Errors
/// When the address is taken or the database fails.
pub async fn insert_user(
    conn: &impl ConnectionTrait,
    values: user::ActiveModel,
) -> Result<user::Model, DbErr> {
    let id = user::Entity::insert(values)
        .exec(conn)
        .await?
        .last_insert_id;
    user::Entity::find_by_id(id)
        .one(conn)
        .await?
        .ok_or(DbErr::RecordNotInserted)
}

/// Writes the set fields of an account.
///
/// # Errors
/// When the database fails.
pub async fn update_user(
    conn: &impl ConnectionTrait,
    _: &Counted,
    id: UserId,
    values: user::ActiveModel,
) -> Result<()> {
    user::Entity::update_many()
        .set(values)
        .filter(user::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Writes what an account's password is known by; empty for none.
///
/// # Errors
/// When the database fails.
pub async fn set_password(
    conn: &impl ConnectionTrait,
    id: UserId,
    hash: String,
    now: DateTime<Utc>,
) -> Result<()> {
    user::Entity::update_many()
        .col_expr(user::Column::PasswordHash, Expr::value(hash))
        .col_expr(user::Column::UpdatedAt, Expr::value(now))
        .filter(user::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Locks every Admin's row until the transaction ends, so that two demotions queue up.
///
/// # Errors
/// When the database fails.
pub async fn lock_admins(tx: &impl ConnectionTrait) -> Result<()> {
    user::Entity::update_many()
        .col_expr(user::Column::Role, Expr::value(SystemRole::Admin))
        .filter(user::Column::Role.eq(SystemRole::Admin))
        .exec(tx)
        .await?;
    Ok(())
}

/// Inserts a session.
///
/// # Errors
/// When the database fails.
pub async fn insert_session(
    conn: &impl ConnectionTrait,
    values: session::ActiveModel,
) -> Result<SessionId> {
    Ok(session::Entity::insert(values)
        .exec(conn)
        .await?
        .last_insert_id)
}

/// A session with its account, by the hash of its cookie.
///
/// # Errors
/// When the database fails.
pub async fn find_session(
    conn: &impl ConnectionTrait,
    token_hash: &str,
) -> Result<Option<(session::Model, user::Model)>> {
    let found = session::Entity::find()
        .filter(session::Column::TokenHash.eq(token_hash))
        .one(conn)
        .await?;
    let Some(session) = found else {
        return Ok(None);
    };
    Ok(find_user(conn, session.user_id)
        .await?
        .map(|user| (session, user)))
}

/// Notes that a session was used.
///
/// # Errors
/// When the database fails.
pub async fn touch_session(
    conn: &impl ConnectionTrait,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<()> {
    session::Entity::update_many()
        .col_expr(session::Column::SeenAt, Expr::value(now))
        .filter(session::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// An account's sessions, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list_sessions(
    conn: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<session::Model>> {
    Ok(session::Entity::find()
        .filter(session::Column::UserId.eq(user))
        .order_by_desc(session::Column::Id)
        .all(conn)
        .await?)
}

/// Ends one session of an account; false when there was none.
///
/// # Errors
/// When the database fails.
pub async fn delete_session(
    conn: &impl ConnectionTrait,
    user: UserId,
    id: SessionId,
) -> Result<bool> {
    let deleted = session::Entity::delete_many()
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(deleted.rows_affected > 0)
}

/// Ends every session of an account but one, and the sign-ins that it has only begun.
///
/// # Errors
/// When the database fails.
pub async fn delete_other_sessions(
    conn: &impl ConnectionTrait,
    user: UserId,
    but: SessionId,
) -> Result<()> {
    session::Entity::delete_many()
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::Id.ne(but))
        .exec(conn)
        .await?;
    factors::delete_challenges(conn, user).await
}

/// Ends every session of an account, and the sign-ins that it has only begun.
///
/// # Errors
/// When the database fails.
pub async fn delete_sessions(conn: &impl ConnectionTrait, user: UserId) -> Result<()> {
    session::Entity::delete_many()
        .filter(session::Column::UserId.eq(user))
        .exec(conn)
        .await?;
    factors::delete_challenges(conn, user).await
}

/// Deletes sessions that can never be used again.
///
/// # Errors
/// When the database fails.
pub async fn prune_sessions(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64> {
    let deleted = session::Entity::delete_many()
        .filter(session::Column::ExpiresAt.lt(now))
        .exec(conn)
        .await?;
    Ok(deleted.rows_affected)
}
