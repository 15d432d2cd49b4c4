//! The secret values of providers and channels: encrypted one by one, opened together; system-only.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::{
    form,
    provider::{Field, Values},
};
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

/// Keeps the secret ones of these fields that `input` names, each in the place of the former value; an
/// empty one takes it away. Others who write secret values wait until the transaction ends.
///
/// # Errors
/// As `sealed::put`.
pub async fn keep(
    tx: &impl ConnectionTrait,
    keys: &KeyRing,
    owner: Owner,
    (fields, input): (&[Field], &Values),
    (by, now): (UserId, DateTime<Utc>),
) -> Result<()> {
    for field in form::secrets(fields, input) {
        let place = owner.place(field.name);
        let Some(value) = input.get(field.name) else {
            sealed::store::remove_before(tx, &place, i64::MAX).await?;
            continue;
        };
        let input = sealed::Input {
            place,
            version: 1,
            plain: value.as_bytes(),
            by: Some(by),
        };
        sealed::replace(tx, keys, input, now).await?;
    }
    Ok(())
}

/// An owner's stored `settings` with its secret values, which live as long as they do.
///
/// # Errors
/// When a secret value was altered, its key is not here, or the database fails.
pub async fn open(
    conn: &impl ConnectionTrait,
    keys: &KeyRing,
    owner: Owner,
    settings: &str,
) -> Result<Values> {
    let mut values: Values = serde_json::from_str(settings)?;
    for row in sealed::store::of_owner(conn, owner.purpose, owner.id).await? {
        let opened = sealed::open(keys, &owner.place(&row.name), row.version, &row);
        let opened = opened.map_err(|error| Error::Internal(error.into()))?;
        let text = std::str::from_utf8(opened.expose());
        let text = text.map_err(|_not_text| broken("a credential is not text"))?;
        values.set(row.name.as_str(), text);
    }
    Ok(values)
}

/// The names of the secret values that an owner has.
#[must_use]
pub fn names_of(all: &[(i64, String)], owner: i64) -> Vec<String> {
    let own = all.iter().filter(|(id, _)| *id == owner);
    own.map(|(_, name)| name.clone()).collect()
}
