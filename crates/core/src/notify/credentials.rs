//! The secret values of providers and channels: encrypted one by one, opened together; system-only.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::provider::Values;
use crate::{
    db::broken,
    error::{Error, Result},
    id::UserId,
    vault::{
        ring::KeyRing,
        sealed::{self, Place},
    },
};

/// Whose credentials they are.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// What kind of owner: a constant of `vault::sealed`.
    pub purpose: &'static str,
    /// Its row.
    pub id: i64,
}

impl Owner {
    fn place(self, name: &str) -> Place<'_> {
        Place {
            purpose: self.purpose,
            project: None,
            scope: 0,
            owner: self.id,
            name,
        }
    }
}

/// Keeps a value in the place of the former one; an empty one takes it away. Others who write secret
/// values wait until the transaction ends.
///
/// # Errors
/// As `sealed::put`.
pub async fn keep(
    tx: &impl ConnectionTrait,
    keys: &KeyRing,
    owner: Owner,
    (name, value): (&str, &str),
    (by, now): (UserId, DateTime<Utc>),
) -> Result<()> {
    let place = owner.place(name);
    if value.is_empty() {
        return sealed::store::remove_before(tx, &place, i64::MAX).await;
    }
    let input = sealed::Input {
        place,
        version: 1,
        plain: value.as_bytes(),
        by: Some(by),
    };
    sealed::replace(tx, keys, input, now).await?;
    Ok(())
}

/// Adds an owner's secret values to `values`; they live as long as those do.
///
/// # Errors
/// When one was altered, its key is not here, or the database fails.
pub async fn open(
    conn: &impl ConnectionTrait,
    keys: &KeyRing,
    owner: Owner,
    values: &mut Values,
) -> Result<()> {
    for row in sealed::store::of_owner(conn, owner.purpose, owner.id).await? {
        let opened = sealed::open(keys, &owner.place(&row.name), row.version, &row);
        let opened = opened.map_err(|error| Error::Internal(error.into()))?;
        let text = std::str::from_utf8(opened.expose());
        let text = text.map_err(|_not_text| broken("a credential is not text"))?;
        values.set(row.name.as_str(), text);
    }
    Ok(())
}

/// The names of the secret values that an owner has.
#[must_use]
pub fn names_of(all: &[(i64, String)], owner: i64) -> Vec<String> {
    let own = all.iter().filter(|(id, _)| *id == owner);
    own.map(|(_, name)| name.clone()).collect()
}
