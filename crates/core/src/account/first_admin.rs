//! The first account of a new installation; system-only.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::{
    password::Password,
    service::{NewUser, insert_user},
    store,
};
use crate::{
    access::SystemRole,
    audit::entry::{Action, Entry},
    ctx::Ctx,
    error::{Error, Result},
    field::{DisplayName, Email},
};

/// What the operator asked for, both or neither.
#[derive(Debug, Default)]
pub struct Wanted {
    /// From `SLIPWAY_ADMIN_EMAIL`.
    pub email: Option<String>,
    /// From `SLIPWAY_ADMIN_PASSWORD`.
    pub password: Option<SecretString>,
}

/// The account that was made.
#[derive(Debug)]
pub struct FirstAdmin {
    /// Its address.
    pub email: String,
    /// Its generated password, to be printed once; none when the operator gave one.
    pub generated_password: Option<SecretString>,
}

/// Makes the first Admin when there is no account at all.
///
/// # Errors
/// When the operator's address or password is not acceptable, or the database fails.
pub async fn ensure(ctx: &Ctx, wanted: Wanted, now: DateTime<Utc>) -> Result<Option<FirstAdmin>> {
    if store::count_users(ctx.db.writer()).await? > 0 {
        return Ok(None);
    }
    let (email, given) = match (wanted.email, wanted.password) {
        (Some(email), Some(password)) => (email, Some(password)),
        (None, None) => ("admin@localhost".to_owned(), None),
        _ => {
            return Err(Error::invalid(
                "SLIPWAY_ADMIN_EMAIL",
                "set SLIPWAY_ADMIN_EMAIL and SLIPWAY_ADMIN_PASSWORD both, or neither",
            ));
        }
    };
    let address: Email = email
        .parse()
        .map_err(|why: String| Error::invalid("SLIPWAY_ADMIN_EMAIL", why))?;
    let plain = match &given {
        Some(password) => password.clone(),
        None => generate()?,
    };
    let password = Password::new(plain.clone())
        .map_err(|why| Error::invalid("SLIPWAY_ADMIN_PASSWORD", why.to_string()))?;
    let name: DisplayName = "Admin".parse().map_err(crate::db::broken)?;
    let input = NewUser {
        email: address,
        name,
        role: SystemRole::Admin,
        password,
    };
    match insert_user(ctx, input, Entry::by_system(Action::UserCreate, now)).await {
        Ok(user) => Ok(Some(FirstAdmin {
            email: user.email,
            generated_password: given.is_none().then_some(plain),
        })),
        // Another process was first, with the same address.
        Err(Error::Conflict {
            code: "email_taken",
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Letters and digits that are not mistaken for each other: 5 bits each.
pub(super) const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password of 130 bits.
pub(super) fn generate() -> Result<SecretString> {
    random_letters::<26>()
}

/// So many random letters.
pub(super) fn random_letters<const N: usize>() -> Result<SecretString> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)?;
    let text: String = bytes
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
        .map(|letter| char::from(*letter))
        .collect();
    Ok(text.into())
}
