//! The table `sealed_values`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::{
    id::{ProjectId, SealedId, UserId},
    vault::cipher::Sealed,
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sealed_values")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: SealedId,
    pub purpose: String,
    pub project_id: Option<ProjectId>,
    pub scope: i64,
    pub owner_id: i64,
    pub name: String,
    pub version: i64,
    pub algorithm: String,
    /// None once the value was destroyed.
    pub key_version: Option<i64>,
    pub nonce: Option<Vec<u8>>,
    pub ciphertext: Vec<u8>,
    /// Rises whenever the row is written.
    pub row_version: i64,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub destroyed_at: Option<DateTime<Utc>>,
}

impl Model {
    /// What is encrypted, if the row can hold it at all.
    #[must_use]
    pub fn sealed(&self) -> Option<Sealed> {
        Some(Sealed {
            alg: self.algorithm.parse().ok()?,
            key_version: i32::try_from(self.key_version?).ok()?,
            nonce: self.nonce.as_deref()?.try_into().ok()?,
            ciphertext: self.ciphertext.clone(),
        })
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
