//! The table `targets`. A row is also its target's slot: `holder_id` has begun and not ended, and
//! `epoch` is the fence of the newest run.

use crate::word::words;

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{DeploymentId, ProjectId, TargetId};

words! {
    /// How a target is reached.
    TargetKind {
        /// A folder on the worker's own machine.
        Local = "local",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "targets")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: TargetId,
    pub project_id: ProjectId,
    pub slug: String,
    pub kind: TargetKind,
    pub path: String,
    pub strategy: String,
    pub auto_deploy: Option<String>,
    pub epoch: i64,
    pub holder_id: Option<DeploymentId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
