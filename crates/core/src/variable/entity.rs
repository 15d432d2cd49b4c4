//! The table `variables`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{ProjectId, TargetId, VariableId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "variables")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: VariableId,
    pub project_id: ProjectId,
    pub target_id: Option<TargetId>,
    /// The target's id, or 0 for the whole project: what the unique index is on.
    pub scope: i64,
    pub name: String,
    pub value: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
