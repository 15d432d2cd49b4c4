//! What somebody's right to a live stream rests on, as a text that changes when it does. There is
//! nobody to ask on whose behalf: system-only.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::{entity::user, sign_in::SESSION_IDLE, store};
use crate::{
    access::Credential,
    ctx::Ctx,
    error::Result,
    id::{SessionId, TokenId, UserId},
    project,
};

/// What these credentials are worth now. One that is worth nothing any more is left out.
///
/// # Errors
/// When the database fails.
pub async fn of(
    ctx: &Ctx,
    credentials: &[Credential],
    now: DateTime<Utc>,
) -> Result<HashMap<Credential, String>> {
    let reader = ctx.db.reader();
    let sessions: Vec<SessionId> = credentials.iter().filter_map(as_session).collect();
    let tokens: Vec<TokenId> = credentials.iter().filter_map(as_token).collect();
    let mut found: Vec<(Credential, user::Model, String)> = Vec::new();
    if !sessions.is_empty() {
        for (row, user) in store::standing::sessions_with_users(reader, &sessions).await? {
            if row.expires_at > now && row.seen_at + SESSION_IDLE > now {
                found.push((Credential::Session(row.id), user, String::new()));
            }
        }
    }
    if !tokens.is_empty() {
        for (row, user) in store::standing::tokens_with_users(reader, &tokens).await? {
            if row.expires_at.is_none_or(|end| end > now) {
                let limits = format!("{} {:?}", row.scopes, row.projects);
                found.push((Credential::Token(row.id), user, limits));
            }
        }
    }
    found.retain(|(_, user, _)| user.disabled_at.is_none());
    let owners: BTreeSet<UserId> = found.iter().map(|(_, user, _)| user.id).collect();
    let owners: Vec<UserId> = owners.into_iter().collect();
    let memberships = project::store::memberships(reader, &owners).await?;
    let text = |user: &user::Model, limits: &str| {
        let own = memberships.iter().filter(|row| row.user_id == user.id);
        let roles: Vec<String> = own
            .map(|row| format!("{} {}", row.project_id, row.role))
            .collect();
        format!("{} {limits} {roles:?}", user.role)
    };
    let known = found
        .iter()
        .map(|(credential, user, limits)| (*credential, text(user, limits)));
    Ok(known.collect())
}

fn as_session(credential: &Credential) -> Option<SessionId> {
    match credential {
        Credential::Session(id) => Some(*id),
        Credential::Token(_) | Credential::Console => None,
    }
}

fn as_token(credential: &Credential) -> Option<TokenId> {
    match credential {
        Credential::Token(id) => Some(*id),
        Credential::Session(_) | Credential::Console => None,
    }
}
