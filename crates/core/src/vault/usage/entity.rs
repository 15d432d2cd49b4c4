//! The table `deployment_secrets`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::DeploymentId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deployment_secrets")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub deployment_id: DeploymentId,
    /// Which run of the deployment.
    pub fence: i64,
    pub attempt: i64,
    /// The target's id, or 0 for a secret of the whole project.
    pub scope: i64,
    pub name: String,
    pub version: i64,
    pub used_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
