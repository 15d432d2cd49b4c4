//! Several sessions and tokens with their accounts; system-only.

use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::find_users;
use crate::{
    account::entity::{api_token, session, user},
    error::Result,
    id::{SessionId, TokenId, UserId},
};

/// These sessions with their accounts.
///
/// # Errors
/// When the database fails.
pub async fn sessions_with_users(
    conn: &impl ConnectionTrait,
    ids: &[SessionId],
) -> Result<Vec<(session::Model, user::Model)>> {
    let sessions = session::Entity::find()
        .filter(session::Column::Id.is_in(ids.iter().copied()))
        .all(conn)
        .await?;
    let owners: Vec<UserId> = sessions.iter().map(|session| session.user_id).collect();
    let users = find_users(conn, &owners).await?;
    let of = |session: session::Model| {
        let user = users.iter().find(|user| user.id == session.user_id)?;
        Some((session, user.clone()))
    };
    Ok(sessions.into_iter().filter_map(of).collect())
}

/// These tokens with their accounts.
///
/// # Errors
/// When the database fails.
pub async fn tokens_with_users(
    conn: &impl ConnectionTrait,
    ids: &[TokenId],
) -> Result<Vec<(api_token::Model, user::Model)>> {
    let tokens = api_token::Entity::find()
        .filter(api_token::Column::Id.is_in(ids.iter().copied()))
        .all(conn)
        .await?;
    let owners: Vec<UserId> = tokens.iter().map(|token| token.user_id).collect();
    let users = find_users(conn, &owners).await?;
    let of = |token: api_token::Model| {
        let user = users.iter().find(|user| user.id == token.user_id)?;
        Some((token, user.clone()))
    };
    Ok(tokens.into_iter().filter_map(of).collect())
}
