//! The tables `deployments`, `steps`, `releases` and `idempotency_keys`.

pub mod deployment {
    //! One deployment: also the truth about its place in the queue and its lease.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::{
        deployment::{status::Status, trigger::Trigger},
        id::{DeploymentId, ProjectId, TargetId, UserId},
        ports::Entry,
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "deployments")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: DeploymentId,
        pub project_id: ProjectId,
        pub target_id: TargetId,
        pub status: Status,
        pub reason: Option<String>,
        pub reason_text: Option<String>,
        pub ref_name: Option<String>,
        pub commit_id: Option<String>,
        pub commit_subject: Option<String>,
        pub commit_author: Option<String>,
        pub trigger_kind: Trigger,
        pub note: Option<String>,
        pub pipeline: Option<String>,
        pub attempt: i64,
        pub interruptions: i64,
        pub fence: i64,
        pub lease_token: Option<String>,
        pub lease_owner: Option<String>,
        pub lease_until: Option<i64>,
        pub not_before: i64,
        pub cancel_requested_at: Option<DateTime<Utc>>,
        pub cancel_requested_by: Option<UserId>,
        pub requested_by: Option<UserId>,
        pub retry_of: Option<DeploymentId>,
        pub superseded_by: Option<DeploymentId>,
        pub created_at: DateTime<Utc>,
        pub started_at: Option<DateTime<Utc>>,
        pub finished_at: Option<DateTime<Utc>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl Model {
        /// The row as the dispatch index knows it.
        #[must_use]
        pub fn entry(&self) -> Entry {
            Entry {
                id: self.id,
                target: self.target_id,
                priority: self.trigger_kind.into(),
            }
        }
    }
}

pub mod step {
    //! One step of one run.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::{
        deployment::step::{Phase, StepStatus},
        id::{DeploymentId, StepId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "steps")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: StepId,
        pub deployment_id: DeploymentId,
        pub fence: i64,
        pub attempt: i64,
        pub position: i64,
        pub phase: Phase,
        pub name: String,
        pub host: String,
        pub status: StepStatus,
        pub exit_code: Option<i64>,
        pub signal: Option<i64>,
        pub started_at: Option<DateTime<Utc>>,
        pub finished_at: Option<DateTime<Utc>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod release {
    //! One release folder on a target.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::{
        deployment::release::ReleaseState,
        id::{DeploymentId, ReleaseId, TargetId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "releases")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: ReleaseId,
        pub target_id: TargetId,
        pub deployment_id: DeploymentId,
        pub commit_id: Option<String>,
        pub state: ReleaseState,
        pub created_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod idempotency_key {
    //! A request that was answered, and the deployment it made.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::id::{DeploymentId, ProjectId, UserId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "idempotency_keys")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub project_id: ProjectId,
        pub user_id: UserId,
        pub key: String,
        pub request_hash: String,
        pub deployment_id: DeploymentId,
        pub created_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod log_chunk {
    //! Some lines of output, in one row.

    use sea_orm::entity::prelude::*;

    use crate::id::{DeploymentId, StepId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "log_chunks")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub deployment_id: DeploymentId,
        pub last_line: i64,
        pub first_line: i64,
        pub fence: i64,
        pub step_id: Option<StepId>,
        pub written_at: i64,
        pub body: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
