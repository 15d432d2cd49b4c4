//! Accounts, sessions and tokens in the database; system-only.

pub mod factors;
pub mod links;
pub mod provider;
pub mod standing;
pub mod throttles;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, FromQueryResult,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, JoinType, Query},
};

use super::entity::{api_token, session, user};
use crate::{
    access::SystemRole,
    account::kind::UserKind,
    db::distinct,
    error::Result,
    id::{SessionId, TokenId, UserId},
    revision::Counted,
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

/// Inserts a token and answers its row.
///
/// # Errors
/// When the database fails.
pub async fn insert_token(
    conn: &impl ConnectionTrait,
    values: api_token::ActiveModel,
) -> Result<api_token::Model> {
    let id = api_token::Entity::insert(values)
        .exec(conn)
        .await?
        .last_insert_id;
    let row = api_token::Entity::find_by_id(id).one(conn).await?;
    row.ok_or_else(|| crate::db::broken("a new token has no row"))
}

/// A token, and what counts of its owner.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct KnownToken {
    /// The token.
    pub id: TokenId,
    /// What is stored of its text.
    pub token_hash: String,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When its use was written down last.
    pub used_at: Option<DateTime<Utc>>,
    /// What it is good for.
    pub scopes: String,
    /// The only projects that it is good for, as JSON.
    pub projects: Option<String>,
    /// Its owner.
    pub user_id: UserId,
    /// The owner's address.
    pub email: String,
    /// The owner's name.
    pub name: String,
    /// The owner's role.
    pub role: SystemRole,
    /// Since when the owner may not sign in.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// The tokens with these hashes, in order.
///
/// # Errors
/// When the database fails.
pub async fn find_tokens(
    conn: &impl ConnectionTrait,
    hashes: &[String],
) -> Result<Vec<Option<KnownToken>>> {
    let mut query = Query::select();
    for name in ["id", "token_hash", "expires_at", "used_at"] {
        query.column(("t", name));
    }
    for name in ["user_id", "scopes", "projects"] {
        query.column(("t", name));
    }
    for name in ["email", "name", "role", "disabled_at"] {
        query.column(("u", name));
    }
    let owner = Expr::col(("u", "id")).equals(("t", "user_id"));
    query
        .from_as(api_token::Entity, "t")
        .join_as(JoinType::InnerJoin, user::Entity, "u", owner)
        .and_where(
            Expr::col(("t", "token_hash")).is_in(distinct(hashes.iter().map(String::as_str))),
        );
    let statement = conn.get_database_backend().build(&query);
    let found = KnownToken::find_by_statement(statement).all(conn).await?;
    let of_hash = |hash: &String| found.iter().find(|token| token.token_hash == *hash);
    Ok(hashes.iter().map(|hash| of_hash(hash).cloned()).collect())
}

/// Notes that a token was used.
///
/// # Errors
/// When the database fails.
pub async fn touch_token(
    conn: &impl ConnectionTrait,
    id: TokenId,
    now: DateTime<Utc>,
) -> Result<()> {
    api_token::Entity::update_many()
        .col_expr(api_token::Column::UsedAt, Expr::value(now))
        .filter(api_token::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// An account's tokens, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list_tokens(
    conn: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<api_token::Model>> {
    Ok(api_token::Entity::find()
        .filter(api_token::Column::UserId.eq(user))
        .order_by_desc(api_token::Column::Id)
        .all(conn)
        .await?)
}

/// Revokes one token of an account; false when there was none.
///
/// # Errors
/// When the database fails.
pub async fn delete_token(
    conn: &impl ConnectionTrait,
    _: &Counted,
    user: UserId,
    id: TokenId,
) -> Result<bool> {
    let deleted = api_token::Entity::delete_many()
        .filter(api_token::Column::UserId.eq(user))
        .filter(api_token::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(deleted.rows_affected > 0)
}
