//! Changing the master key while everything runs: the states of key versions, and moving values from
//! one key to another.
//!
//! The database says which version is active. Values are written under the row lock of that decision,
//! so once `activate` has returned nothing is written under the former key, and a retired key has no
//! row and can get none. Values are read with whatever key they name. Where keys come from is
//! `load`'s concern.

pub mod entity;
pub mod rewrap;
pub mod service;
pub mod store;
pub mod watch;

use crate::error::{Error, Result};

/// This process cannot write because it lacks the active key.
pub(crate) fn lacking(version: i32) -> Error {
    Error::Internal(anyhow::Error::msg(lacking_text(version)))
}

fn lacking_text(version: i32) -> String {
    format!(
        "master key version {version} is the active one and is not loaded here; give it as \
         security.retired_keys.{version} (SLIPWAY__SECURITY__RETIRED_KEYS__{version}) or as \
         encryption_key_{version} in security.keys_dir; `slipway keys status` shows which versions \
         there are"
    )
}

/// Values would be lost without this key.
fn needed(version: i64, values: i64) -> Result<()> {
    Err(Error::Internal(anyhow::anyhow!(
        "{values} stored value(s) are encrypted under master key version {version}, which is not \
         loaded; give it as security.retired_keys.{version} \
         (SLIPWAY__SECURITY__RETIRED_KEYS__{version}) or as encryption_key_{version} in \
         security.keys_dir, then `slipway keys rewrap` moves them to the active key"
    )))
}
