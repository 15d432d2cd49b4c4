//! The table `channels`. A row is also the lease of the worker that sends there, so that a channel
//! has one message under way at most.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{ChannelId, ProviderId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "channels")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: ChannelId,
    pub provider_id: ProviderId,
    pub name: String,
    /// What is not secret, as JSON.
    pub settings: String,
    pub disabled: bool,
    /// How many attempts failed in a row.
    pub failures: i64,
    /// When an attempt last failed.
    pub failed_us: Option<i64>,
    pub lease_token: Option<String>,
    pub lease_until: i64,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
