//! The tables `ssh_keys` and `host_keys`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{ProjectId, SshKeyId, TargetId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ssh_keys")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: SshKeyId,
    pub project_id: ProjectId,
    pub target_id: Option<TargetId>,
    /// The target's id, or 0 for the whole project: what the unique index is on.
    pub scope: i64,
    /// Rises with each new pair.
    pub version: i64,
    /// As it stands in `authorized_keys`.
    pub public_key: String,
    pub fingerprint: String,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub mod host_key {
    //! A server's key that a project trusts.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::id::{HostKeyId, ProjectId, UserId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "host_keys")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: HostKeyId,
        pub project_id: ProjectId,
        /// As in `known_hosts`: `example.com`, or `[example.com]:2222`.
        pub host: String,
        pub algorithm: String,
        /// In base64.
        pub public_key: String,
        pub fingerprint: String,
        pub created_by: Option<UserId>,
        pub created_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
