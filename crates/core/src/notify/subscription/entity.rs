//! The tables `subscriptions` and `subscription_channels`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::id::{ProjectId, SubscriptionId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "subscriptions")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: SubscriptionId,
    pub project_id: ProjectId,
    /// A bit for each event.
    pub events: i64,
    /// Numbers of targets, as JSON; an empty list means all.
    pub targets: String,
    /// Globs of branches, as JSON; an empty list means all.
    pub branches: String,
    /// Whether only failures are told, and what ends them.
    pub changes_only: bool,
    pub muted_until: Option<DateTime<Utc>>,
    pub muted_reason: Option<String>,
    pub muted_by: Option<UserId>,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub mod pair {
    //! One channel of one subscription.

    use sea_orm::entity::prelude::*;

    use crate::id::{ChannelId, SubscriptionId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "subscription_channels")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub subscription_id: SubscriptionId,
        pub channel_id: ChannelId,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
