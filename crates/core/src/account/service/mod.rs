//! What people do with accounts: their own sessions, and other people's accounts.

pub mod factor;
pub mod passwords;
pub mod tokens;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;

use self::passwords::{INVITED, Link};
use super::{
    entity::{session, user},
    kind::UserKind,
    password::Password,
    sign_in::email_key,
    store,
};
use crate::{
    access::{Actor, Credential, Permission, SystemRole},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    deployment::store::revision,
    error::{Error, Result},
    field::{DisplayName, Email},
    id::{SessionId, UserId},
};

/// Ends the session that the actor is signed in with.
///
/// # Errors
/// When the database fails.
pub async fn sign_out(ctx: &Ctx, actor: &Actor) -> Result<()> {
    if let Credential::Session(id) = actor.credential {
        delete_session(ctx, actor, id, Action::SignOut).await?;
    }
    Ok(())
}

async fn delete_session(ctx: &Ctx, actor: &Actor, id: SessionId, action: Action) -> Result<bool> {
    let tx = ctx.db.begin().await?;
    let existed = store::delete_session(&tx, actor.user, id).await?;
    if existed {
        let entry = Entry::by(actor, action, crate::db::now());
        let entry = entry.on(ObjectKind::Session, id.0, &actor.email);
        ctx.audit.record(&tx, &entry).await?;
    }
    tx.commit().await?;
    Ok(existed)
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
    actor.require_unlimited()?;
    if delete_session(ctx, actor, id, Action::SessionRevoke).await? {
        Ok(())
    } else {
        Err(Error::NotFound("session"))
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
    insert_user(ctx, input, Entry::by(actor, Action::UserCreate, now)).await
}

/// An account as the audit trail tells of it.
pub(super) fn audited(row: &user::Model) -> serde_json::Value {
    serde_json::json!({
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "disabled": row.disabled_at.is_some(),
        "kind": row.kind,
    })
}

/// Inserts an account; system-only, its callers have asked.
pub(super) async fn insert_user(ctx: &Ctx, input: NewUser, entry: Entry) -> Result<user::Model> {
    let hash = ctx.passwords.hash(input.password).await?;
    let invitee = Invitee {
        email: input.email,
        name: input.name,
        role: input.role,
        kind: UserKind::Person,
    };
    let tx = ctx.db.begin().await?;
    let row = insert(ctx, &tx, (invitee, hash), entry).await?;
    tx.commit().await?;
    Ok(row)
}

/// A new account without a password: a service, or somebody who is sent a link to set one.
#[derive(Debug)]
pub struct Invitee {
    /// Its address.
    pub email: Email,
    /// Its name.
    pub name: DisplayName,
    /// Its role in the whole system.
    pub role: SystemRole,
    /// Whether it is a person, who gets a link.
    pub kind: UserKind,
}

/// Creates an account without a password; for a person, with the link to set one.
///
/// # Errors
/// [`Error::Forbidden`], or a conflict when the address is taken.
pub async fn invite_user(
    ctx: &Ctx,
    actor: &Actor,
    input: Invitee,
    now: DateTime<Utc>,
) -> Result<(user::Model, Option<Link>)> {
    actor.require(Permission::Administer, None)?;
    let is_person = input.kind == UserKind::Person;
    let tx = ctx.db.begin().await?;
    let entry = Entry::by(actor, Action::UserCreate, now);
    let row = insert(ctx, &tx, (input, String::new()), entry).await?;
    let link = if is_person {
        let entry = Entry::by(actor, Action::UserInvite, now);
        Some(passwords::make_link(ctx, &tx, &row, (INVITED, entry)).await?)
    } else {
        None
    };
    tx.commit().await?;
    Ok((row, link))
}

/// Inserts an account in a transaction; system-only, its callers have asked.
pub(super) async fn insert(
    ctx: &Ctx,
    tx: &impl sea_orm::ConnectionTrait,
    (input, password_hash): (Invitee, String),
    entry: Entry,
) -> Result<user::Model> {
    let (email, now) = (input.email.to_string(), entry.at());
    let values = user::ActiveModel {
        email_key: Set(email_key(&email)),
        email: Set(email.clone()),
        name: Set(input.name.into_string()),
        role: Set(input.role),
        kind: Set(input.kind),
        password_hash: Set(password_hash),
        disabled_at: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        ..user::ActiveModel::default()
    };
    let row = store::insert_user(tx, values).await.map_err(|error| {
        if is_duplicate(&error) {
            let message = format!("there is an account {email} already");
            Error::conflict("email_taken", message)
        } else {
            error.into()
        }
    })?;
    let entry = entry
        .on(ObjectKind::User, row.id.0, &row.email)
        .after(&audited(&row));
    ctx.audit.record(tx, &entry).await?;
    Ok(row)
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
    actor.require_unlimited()?;
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
    // Whoever gets other rights signs in anew; whoever is disabled cannot.
    let signs_out = change.disabled == Some(true) || change.role.is_some();
    let entry = Entry::by(actor, Action::UserUpdate, now);
    crate::db::retried(|| write_user(ctx, id, (values.clone(), signs_out), &entry)).await
}

async fn write_user(
    ctx: &Ctx,
    id: UserId,
    (values, signs_out): (user::ActiveModel, bool),
    entry: &Entry,
) -> Result<user::Model> {
    let tx = ctx.db.begin().await?;
    let counted = revision::count(&tx).await?;
    store::lock_admins(&tx).await?;
    let before = store::find_user(&tx, id).await?;
    let before = before.ok_or(Error::NotFound("user"))?;
    store::update_user(&tx, &counted, id, values).await?;
    if signs_out {
        store::delete_sessions(&tx, id).await?;
        store::links::delete_of(&tx, id).await?;
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
    let entry = entry
        .clone()
        .on(ObjectKind::User, id.0, &user.email)
        .changed(&audited(&before), &audited(&user));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(user)
}
