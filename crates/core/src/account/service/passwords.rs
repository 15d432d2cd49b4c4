//! New passwords: one's own, and by a one-time link that an Admin or a mail hands over.

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait};
use secrecy::SecretString;

use crate::{
    access::{Actor, Credential, Permission},
    account::{
        entity::{link, user},
        kind::{Means, UserKind},
        password::Password,
        session as random,
        sign_in::{self, Beginning, Origin, SignedIn, email_key},
        store, throttle,
    },
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    id::UserId,
};

/// How long somebody who is invited has to set a password.
pub const INVITED: Duration = Duration::days(7);
/// How long a forgotten password can be replaced.
pub const FORGOTTEN: Duration = Duration::hours(1);

/// A link to set a password, known only here.
#[derive(Debug)]
pub struct Link {
    /// What the page asks for.
    pub code: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Makes a link in the transaction of what it is for; system-only, its callers have asked.
pub(super) async fn make_link(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: &user::Model,
    (lasts, entry): (Duration, Entry),
) -> Result<Link> {
    let (new, now) = (random::generate()?, entry.at());
    let expires_at = now + lasts;
    let values = link::ActiveModel {
        user_id: Set(user.id),
        token_hash: Set(new.hash),
        created_at: Set(now),
        expires_at: Set(expires_at),
        ..link::ActiveModel::default()
    };
    store::links::replace(tx, user.id, values).await?;
    let state = serde_json::json!({ "expires_at": expires_at });
    let entry = entry
        .on(ObjectKind::User, user.id.0, &user.email)
        .after(&state);
    ctx.audit.record(tx, &entry).await?;
    Ok(Link {
        code: new.plain,
        expires_at,
    })
}

/// Makes a link by which somebody sets a new password; the old one works until then.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict for a service or a disabled account.
pub async fn invite(ctx: &Ctx, actor: &Actor, id: UserId, now: DateTime<Utc>) -> Result<Link> {
    actor.require(Permission::Administer, None)?;
    let user = store::find_user(ctx.db.reader(), id).await?;
    let user = user.ok_or(Error::NotFound("user"))?;
    if !may_have_password(&user) {
        let message = "the account is disabled, or a service, which has no password";
        return Err(Error::conflict("no_password", message));
    }
    let tx = ctx.db.begin().await?;
    let entry = Entry::by(actor, Action::UserInvite, now);
    let link = make_link(ctx, &tx, &user, (INVITED, entry)).await?;
    tx.commit().await?;
    Ok(link)
}

fn may_have_password(user: &user::Model) -> bool {
    user.kind == UserKind::Person && user.disabled_at.is_none()
}

/// Makes a link for somebody who says that they have forgotten their password: system-only.
///
/// It is to be sent to the account's address and nowhere else, as nobody knows who asks. Nothing
/// when there is no such account.
///
/// # Errors
/// [`Error::Throttled`], or when the database fails.
pub async fn forgotten(
    ctx: &Ctx,
    email: &str,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<Option<(String, Link)>> {
    let key = email_key(email);
    ctx.addresses
        .attempt(&origin.address, std::time::Instant::now())?;
    throttle::attempt(ctx, &format!("mail to {key}"), &origin.address, now).await?;
    let user = store::find_user_by_email(ctx.db.reader(), &key).await?;
    let Some(user) = user.filter(may_have_password) else {
        return Ok(None);
    };
    // A password that nobody gave them would outlast their place at the identity provider.
    let has_none = user.password_hash.is_empty();
    if has_none && store::provider::has_identity(ctx.db.reader(), user.id).await? {
        return Ok(None);
    }
    let tx = ctx.db.begin().await?;
    let entry = Entry::by_system(Action::UserInvite, now).from_address(&origin.address);
    let link = make_link(ctx, &tx, &user, (FORGOTTEN, entry)).await?;
    tx.commit().await?;
    Ok(Some((user.email, link)))
}

/// Sets a password by a link, which ends with that, as do all sessions. Whoever has the link is not
/// signed in: system-only.
///
/// # Errors
/// [`Error::Invalid`] when the link is not valid (any more), [`Error::Throttled`].
pub async fn set_by_link(
    ctx: &Ctx,
    code: &str,
    password: Password,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<()> {
    ctx.addresses
        .attempt(&origin.address, std::time::Instant::now())?;
    let invalid = || Error::invalid("code", "is not valid any more; ask for another one");
    let hash = random::parse_and_hash(code.trim()).ok_or_else(invalid)?;
    let found = store::links::find(ctx.db.reader(), &hash).await?;
    let link = found
        .filter(|link| link.expires_at > now)
        .ok_or_else(invalid)?;
    let user = store::find_user(ctx.db.reader(), link.user_id).await?;
    let user = user.filter(may_have_password).ok_or_else(invalid)?;
    let hash = ctx.passwords.hash(password).await?;
    let tx = ctx.db.begin().await?;
    if !store::links::take(&tx, link.id).await? {
        return Err(invalid());
    }
    let entry = Entry::by_system(Action::PasswordReset, now).from_address(&origin.address);
    write(ctx, &tx, &user, hash, &entry).await?;
    tx.commit().await?;
    ctx.addresses.succeeded(&origin.address);
    throttle::succeeded(ctx, &sign_in::throttled_as(&user.email_key)).await
}

/// Writes a password and ends every session.
async fn write(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    user: &user::Model,
    hash: String,
    entry: &Entry,
) -> Result<()> {
    store::set_password(tx, user.id, hash, entry.at()).await?;
    store::delete_sessions(tx, user.id).await?;
    store::links::delete_of(tx, user.id).await?;
    let entry = entry.clone().on(ObjectKind::User, user.id.0, &user.email);
    ctx.audit.record(tx, &entry).await
}

/// Changes the actor's own password. Every session ends; whoever came with one gets another.
///
/// # Errors
/// [`Error::Invalid`] when the current password is wrong, [`Error::Throttled`], [`Error::Busy`],
/// [`Error::TokenLimited`].
pub async fn change(
    ctx: &Ctx,
    actor: &Actor,
    (current, new): (SecretString, Password),
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<Option<SignedIn>> {
    actor.require_unlimited()?;
    let user = store::find_user(ctx.db.reader(), actor.user).await?;
    let user = user.ok_or(Error::NotFound("user"))?;
    if !is_right(ctx, &user, current, &origin.address, now).await? {
        return Err(Error::invalid("current", "is not your password"));
    }
    let hash = ctx.passwords.hash(new).await?;
    let tx = ctx.db.begin().await?;
    let entry = Entry::by(actor, Action::PasswordChange, now);
    write(ctx, &tx, &user, hash.clone(), &entry).await?;
    tx.commit().await?;
    match actor.credential {
        Credential::Session(_) => {
            let beginning = Beginning {
                user: user::Model {
                    password_hash: hash,
                    ..user
                },
                means: Means::Password,
                proof: None,
                origin,
            };
            Ok(Some(sign_in::begin(ctx, &beginning, now).await?))
        }
        Credential::Token(_) | Credential::Console => Ok(None),
    }
}

/// Whether it is the account's password; tries are counted; system-only, its callers have asked.
pub(super) async fn is_right(
    ctx: &Ctx,
    user: &user::Model,
    password: SecretString,
    from: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let throttled = sign_in::throttled_as(&user.email_key);
    throttle::attempt(ctx, &throttled, from, now).await?;
    let hash = Some(user.password_hash.clone());
    let is_right = ctx.passwords.verify(password, hash).await?;
    if is_right {
        throttle::succeeded(ctx, &throttled).await?;
    }
    Ok(is_right)
}
