//! The one place for everything that is encrypted: the table `sealed_values`.
//!
//! Whoever has something to keep secret calls [`put`] in the transaction that writes the owner's row,
//! and [`open`] (or [`latest`]) when it is needed. A [`Place`] says what the value belongs to: a
//! purpose of its own (`slipway/channel/v1`, kept here as a constant), the project if there is one,
//! the owner's row and a name. The value is bound to all of that and to its version. Rotation finds
//! every row by its key version, so nobody has to tell it of a new purpose; values of a project or a
//! target go with it, those of other owners with [`remove`]. It asks nobody for permission: system-only.

pub mod entity;
pub mod store;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

pub use entity::Model;

use super::{
    cipher::{Binding, VaultError},
    ring::KeyRing,
    rotation,
    value::SecretValue,
};
use crate::{
    error::{Error, Result},
    id::{ProjectId, SealedId, UserId},
};

/// A project's secrets.
pub const SECRET: &str = "slipway/secret/v1";
/// The private halves of SSH key pairs.
pub const SSH_KEY: &str = "slipway/ssh-key/v1";
/// Credentials of providers of notifications.
pub const PROVIDER: &str = "slipway/provider/v1";
/// Credentials of channels.
pub const CHANNEL: &str = "slipway/channel/v1";
/// The seeds of second factors.
pub const FACTOR: &str = "slipway/factor/v1";

/// The key that proves the audit trail.
pub const AUDIT_KEY: &str = "slipway/audit/key/v1";

/// What a sealed value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// What kind of value it is.
    pub purpose: &'static str,
    /// The project, if it is one's; each project has a key of its own.
    pub project: Option<ProjectId>,
    /// The target within the project, or 0.
    pub scope: i64,
    /// The row that owns it.
    pub owner: i64,
    /// Its name among the owner's values of this purpose.
    pub name: &'a str,
}

impl<'a> Place<'a> {
    /// The binding of one version of the value here.
    #[must_use]
    pub fn binding(&self, version: i64) -> Binding<'a> {
        Binding {
            purpose: self.purpose,
            project: self.project.unwrap_or(ProjectId(0)),
            scope: self.scope,
            row: self.owner,
            name: self.name,
            version,
        }
    }
}

/// A value to be kept.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What it belongs to.
    pub place: Place<'a>,
    /// Which value of this place it is; each is written once.
    pub version: i64,
    /// The plain text.
    pub plain: &'a [u8],
    /// Who wrote it.
    pub by: Option<UserId>,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("place", &self.place)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Encrypts a value under the active key and keeps it. The active key cannot change before the
/// transaction ends, so call this early in it: others who write wait meanwhile.
///
/// # Errors
/// When this process lacks the active key, the version was written before, or the database fails.
pub async fn put(
    tx: &impl ConnectionTrait,
    keys: &KeyRing,
    input: Input<'_>,
    now: DateTime<Utc>,
) -> Result<SealedId> {
    let active = rotation::store::lock_active(tx).await?;
    if !keys.has(active) {
        return Err(rotation::lacking(active));
    }
    let sealed = keys
        .seal(active, &input.place.binding(input.version), input.plain)
        .map_err(|error| Error::Internal(error.into()))?;
    store::insert(tx, &input, &sealed, now).await
}

/// Decrypts a row for the place that the caller expects it to belong to.
///
/// # Errors
/// `Integrity` when the row was changed, cut, moved or destroyed; `UnknownKeyVersion` when its key is
/// not loaded here.
pub fn open(
    keys: &KeyRing,
    place: &Place<'_>,
    version: i64,
    row: &Model,
) -> Result<SecretValue, VaultError> {
    let sealed = row.sealed().ok_or(VaultError::Integrity)?;
    keys.open(&place.binding(version), &sealed)
}

/// Decrypts the newest value of a place, if it has one.
///
/// # Errors
/// When it cannot be decrypted, or the database fails.
pub async fn latest(
    conn: &impl ConnectionTrait,
    keys: &KeyRing,
    place: &Place<'_>,
) -> Result<Option<SecretValue>> {
    let Some(row) = store::newest(conn, place).await? else {
        return Ok(None);
    };
    let opened = open(keys, place, row.version, &row);
    opened
        .map(Some)
        .map_err(|error| Error::Internal(error.into()))
}

/// Keeps a value in the place of all former ones.
///
/// # Errors
/// As [`put`].
pub async fn replace(
    tx: &impl ConnectionTrait,
    keys: &KeyRing,
    input: Input<'_>,
    now: DateTime<Utc>,
) -> Result<SealedId> {
    let newest = store::newest(tx, &input.place).await?;
    let version = newest.map_or(1, |row| row.version + 1);
    let id = put(tx, keys, Input { version, ..input }, now).await?;
    store::remove_before(tx, &input.place, version).await?;
    Ok(id)
}

/// Removes all values of an owner.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &impl ConnectionTrait, purpose: &str, owner: i64) -> Result<()> {
    store::remove(tx, purpose, owner).await
}
