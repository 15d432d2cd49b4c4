//! The table `secrets`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use super::sealed;
use crate::id::{ProjectId, SealedId, SecretId, TargetId};

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
    /// The newest version.
    pub version: i64,
    /// Where its value stands.
    pub value_id: SealedId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The encrypted value.
    #[sea_orm(
        belongs_to = "sealed::entity::Entity",
        from = "Column::ValueId",
        to = "sealed::entity::Column::Id"
    )]
    Value,
}

impl Related<sealed::entity::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Value.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
