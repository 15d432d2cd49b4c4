//! What people do with accounts: their own sessions and tokens, and other people's accounts.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use secrecy::SecretString;

use super::{
    entity::{api_token, session, user},
    password::Password,
    sign_in::email_key,
    store, token,
};
use crate::{
    access::{Actor, Credential, Permission, SystemRole},
    ctx::Ctx,
    db::is_duplicate,
    error::{Error, Result},
    field::{DisplayName, Email},
    id::{SessionId, TokenId, UserId},
};

/// Ends the session that the actor is signed in with.
///
/// # Errors
/// When the database fails.
pub async fn sign_out(ctx: &Ctx, actor: &Actor) -> Result<()> {
    if let Credential::Session(id) = actor.credential {
        store::delete_session(ctx.db.writer(), actor.user, id).await?;
    }
    Ok(())
}

/// The actor's own sessions.
///
/// # Errors
/// When the database fails.
pub async fn sessions(ctx: &Ctx, actor: &Actor) -> Result<Vec<session::Model>> {
    store::list_sessions(ctx.db.reader(), actor.user).await
}

/// Ends one of the actor's own sessions.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn end_session(ctx: &Ctx, actor: &Actor, id: SessionId) -> Result<()> {
    if store::delete_session(ctx.db.writer(), actor.user, id).await? {
        Ok(())
    } else {
        Err(Error::NotFound("session"))
    }
}

/// The actor's own tokens.
///
/// # Errors
/// When the database fails.
pub async fn tokens(ctx: &Ctx, actor: &Actor) -> Result<Vec<api_token::Model>> {
    store::list_tokens(ctx.db.reader(), actor.user).await
}

/// Makes a token for the actor. Its text is known only here.
///
/// # Errors
/// When the database fails.
pub async fn create_token(
    ctx: &Ctx,
    actor: &Actor,
    name: &DisplayName,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(api_token::Model, SecretString)> {
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    let new = token::generate()?;
    let values = api_token::ActiveModel {
        user_id: Set(actor.user),
        name: Set(name.to_string()),
        token_hash: Set(new.hash),
        hint: Set(new.hint),
        created_at: Set(now),
        expires_at: Set(expires_at),
        used_at: Set(None),
        ..api_token::ActiveModel::default()
    };
    Ok((
        store::insert_token(ctx.db.writer(), values).await?,
        new.plain,
    ))
}

/// Revokes one of the actor's own tokens.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke_token(ctx: &Ctx, actor: &Actor, id: TokenId) -> Result<()> {
    if store::delete_token(ctx.db.writer(), actor.user, id).await? {
        Ok(())
    } else {
        Err(Error::NotFound("token"))
    }
}

/// Accounts in order of id, above `after`.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn list_users(
    ctx: &Ctx,
    actor: &Actor,
    after: UserId,
    limit: u64,
) -> Result<Vec<user::Model>> {
    actor.require(Permission::Administer, None)?;
    store::list_users(ctx.db.reader(), after, limit).await
}

/// One account: one's own, or any for an Admin.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_user(ctx: &Ctx, actor: &Actor, id: UserId) -> Result<user::Model> {
    if actor.user != id && actor.require(Permission::Administer, None).is_err() {
        return Err(Error::NotFound("user"));
    }
    store::find_user(ctx.db.reader(), id)
        .await?
        .ok_or(Error::NotFound("user"))
}

/// A new account.
#[derive(Debug)]
pub struct NewUser {
    /// Its address.
    pub email: Email,
    /// Its name.
    pub name: DisplayName,
    /// Its role in the whole system.
    pub role: SystemRole,
    /// Its password.
    pub password: Password,
}

/// Creates an account.
///
/// # Errors
/// [`Error::Forbidden`], or a conflict when the address is taken.
pub async fn create_user(
    ctx: &Ctx,
    actor: &Actor,
    input: NewUser,
    now: DateTime<Utc>,
) -> Result<user::Model> {
    actor.require(Permission::Administer, None)?;
    insert_user(ctx, input, now).await
}

/// Inserts an account; system-only, its callers have asked.
pub(super) async fn insert_user(
    ctx: &Ctx,
    input: NewUser,
    now: DateTime<Utc>,
) -> Result<user::Model> {
    let email = input.email.to_string();
    let values = user::ActiveModel {
        email_key: Set(email_key(&email)),
        email: Set(email.clone()),
        name: Set(input.name.into_string()),
        role: Set(input.role),
        password_hash: Set(ctx.passwords.hash(input.password).await?),
        disabled_at: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        ..user::ActiveModel::default()
    };
    store::insert_user(ctx.db.writer(), values)
        .await
        .map_err(|error| {
            if is_duplicate(&error) {
                Error::conflict(
                    "email_taken",
                    format!("there is an account {email} already"),
                )
            } else {
                error.into()
            }
        })
}

/// Changes to an account; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Its role in the whole system.
    pub role: Option<SystemRole>,
    /// Whether it may sign in.
    pub disabled: Option<bool>,
    /// Its name.
    pub name: Option<DisplayName>,
}

/// Changes an account. The system keeps an Admin who can sign in.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when the last Admin would be lost.
pub async fn update_user(
    ctx: &Ctx,
    actor: &Actor,
    id: UserId,
    change: UserChange,
    now: DateTime<Utc>,
) -> Result<user::Model> {
    let is_own_name = actor.user == id && change.role.is_none() && change.disabled.is_none();
    get_user(ctx, actor, id).await?;
    if !is_own_name {
        actor.require(Permission::Administer, None)?;
    }
    let mut values = user::ActiveModel {
        updated_at: Set(now),
        ..user::ActiveModel::default()
    };
    if let Some(role) = change.role {
        values.role = Set(role);
    }
    if let Some(disabled) = change.disabled {
        values.disabled_at = Set(disabled.then_some(now));
    }
    if let Some(name) = change.name {
        values.name = Set(name.into_string());
    }
    let signs_out = change.disabled == Some(true);
    crate::db::retried(|| write_user(ctx, id, values.clone(), signs_out)).await
}

async fn write_user(
    ctx: &Ctx,
    id: UserId,
    values: user::ActiveModel,
    signs_out: bool,
) -> Result<user::Model> {
    let tx = ctx.db.begin().await?;
    store::lock_admins(&tx).await?;
    store::update_user(&tx, id, values).await?;
    if signs_out {
        store::delete_sessions(&tx, id).await?;
    }
    if store::count_admins(&tx).await? == 0 {
        return Err(Error::conflict(
            "last_admin",
            "Slipway keeps at least one Admin",
        ));
    }
    let user = store::find_user(&tx, id)
        .await?
        .ok_or(Error::NotFound("user"))?;
    tx.commit().await?;
    Ok(user)
}
