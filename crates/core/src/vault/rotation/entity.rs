//! The table `vault_keys`: what each master key version is used for, and a value that only the right
//! key opens.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::{vault::cipher::Sealed, word::words};

words! {
    /// What a key version is used for.
    KeyState {
        /// It decrypts.
        Ready = "ready",
        /// It encrypts; one version does.
        Active = "active",
        /// Nothing is encrypted under it any more.
        Retired = "retired",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "vault_keys")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub key_version: i64,
    pub algorithm: String,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub state: KeyState,
    pub activated_at: Option<DateTime<Utc>>,
    pub retired_at: Option<DateTime<Utc>>,
}

impl Model {
    /// The value to check a key with, if the row can hold it at all.
    #[must_use]
    pub fn check(&self) -> Option<Sealed> {
        Some(Sealed {
            alg: self.algorithm.parse().ok()?,
            key_version: i32::try_from(self.key_version).ok()?,
            nonce: self.nonce.as_slice().try_into().ok()?,
            ciphertext: self.ciphertext.clone(),
        })
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
