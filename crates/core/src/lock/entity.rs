//! The table `locks`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{LockId, ProjectId, TargetId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "locks")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: LockId,
    pub covers: String,
    pub project_id: Option<ProjectId>,
    pub target_id: Option<TargetId>,
    pub reason: String,
    pub locked_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub expires_us: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
