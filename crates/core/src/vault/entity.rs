//! The tables `secrets` and `vault_keys`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{ProjectId, SecretId, TargetId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "secrets")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: SecretId,
    pub project_id: ProjectId,
    pub target_id: Option<TargetId>,
    /// The target's id, or 0 for the whole project: what the unique index is on.
    pub scope: i64,
    pub name: String,
    pub version: i64,
    pub algorithm: String,
    pub key_version: i64,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub mod key_check {
    //! A value that only the right master key of a version opens.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

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
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
