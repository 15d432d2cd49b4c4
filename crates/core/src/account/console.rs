//! Accounts from the machine's own command line, by whoever may read the database anyway:
//! system-only.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::{
    first_admin::generate,
    password::Password,
    service::{NewUser, factor, insert_user},
    sign_in::email_key,
    store,
};
use crate::{
    access::SystemRole,
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    field::{DisplayName, Email},
};

/// Creates an account with a generated password, which is answered this once.
///
/// # Errors
/// A conflict when the address is taken.
pub async fn create(
    ctx: &Ctx,
    email: Email,
    name: DisplayName,
    role: SystemRole,
    now: DateTime<Utc>,
) -> Result<SecretString> {
    let (plain, password) = generated()?;
    let input = NewUser {
        email,
        name,
        role,
        password,
    };
    insert_user(ctx, input, Entry::by_console(Action::UserCreate, now)).await?;
    Ok(plain)
}

/// Gives an account a generated password, which is answered this once, and ends its sessions. A
/// disabled account stays disabled.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn reset_password(ctx: &Ctx, email: &str, now: DateTime<Utc>) -> Result<SecretString> {
    let found = store::find_user_by_email(ctx.db.writer(), &email_key(email)).await?;
    let user = found.ok_or(Error::NotFound("user"))?;
    let (plain, password) = generated()?;
    let hash = ctx.passwords.hash(password).await?;
    let tx = ctx.db.begin().await?;
    store::set_password(&tx, user.id, hash, now).await?;
    store::delete_sessions(&tx, user.id).await?;
    let entry = Entry::by_console(Action::PasswordReset, now);
    let entry = entry.on(ObjectKind::User, user.id.0, &user.email);
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(plain)
}

/// Removes the second factor of somebody who has lost it, and ends their sessions.
///
/// # Errors
/// [`Error::NotFound`], or a conflict when there is none.
pub async fn remove_factor(ctx: &Ctx, email: &str, now: DateTime<Utc>) -> Result<()> {
    let found = store::find_user_by_email(ctx.db.writer(), &email_key(email)).await?;
    let user = found.ok_or(Error::NotFound("user"))?;
    let entry = Entry::by_console(Action::FactorRemove, now);
    factor::removed(ctx, &user, &entry).await
}

fn generated() -> Result<(SecretString, Password)> {
    let plain = generate()?;
    let password = Password::new(plain.clone()).map_err(|error| Error::Internal(error.into()))?;
    Ok((plain, password))
}
