//! The tables `projects` and `memberships`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::{id::ProjectId, project::policy::QueuePolicy};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "projects")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: ProjectId,
    pub slug: String,
    pub name: String,
    pub repository: Option<String>,
    pub default_branch: String,
    pub queue_policy: QueuePolicy,
    pub retry_attempts: Option<i64>,
    pub retry_delays: Option<String>,
    pub pipeline_source: Option<String>,
    /// A bit for each event that a subscription wants.
    pub told: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub mod membership {
    //! One user's role in one project.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::{
        access::ProjectRole,
        id::{MembershipId, ProjectId, UserId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "memberships")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: MembershipId,
        pub project_id: ProjectId,
        pub user_id: UserId,
        pub role: ProjectRole,
        pub created_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
