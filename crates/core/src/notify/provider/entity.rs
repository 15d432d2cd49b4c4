//! The table `providers`. A row is also the circuit that all workers share.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{ProviderId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "providers")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: ProviderId,
    pub name: String,
    pub kind: String,
    /// What is not secret, as JSON.
    pub settings: String,
    pub disabled: bool,
    /// How many attempts failed in a row.
    pub failures: i64,
    /// When an attempt last worked.
    pub succeeded_us: Option<i64>,
    /// How often the circuit was opened without a success since.
    pub openings: i64,
    /// Until when nothing is sent; afterwards one attempt is made.
    pub open_until_us: Option<i64>,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
