//! API tokens in the database; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, FromQueryResult,
    QueryFilter as _, QueryOrder as _,
    sea_query::{Expr, JoinType, Query},
};

use crate::{
    access::SystemRole,
    account::entity::{api_token, user},
    db::distinct,
    deployment::store::revision::Counted,
    error::Result,
    id::{TokenId, UserId},
};

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
