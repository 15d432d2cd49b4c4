//! The tables `notices` and `deliveries`.

use sea_orm::entity::prelude::*;

use super::state::State;
use crate::id::{ChannelId, DeliveryId, NoticeId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: DeliveryId,
    pub notice_id: NoticeId,
    pub channel_id: ChannelId,
    pub state: State,
    pub tries: i64,
    /// Not before this, on the database's clock.
    pub next_us: i64,
    /// What receivers know repetitions by.
    pub key: String,
    /// What repetitions of the same have in common, if they are folded.
    pub fold: Option<String>,
    /// The message that it was told with.
    pub folded_into: Option<DeliveryId>,
    /// How many are told with it.
    pub folded: i64,
    /// What the service said last, masked.
    pub answer: Option<String>,
    /// On the database's clock.
    pub created_us: i64,
    /// When it came to its state, if that is final.
    pub ended_us: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub mod notice {
    //! One event, as it is told everywhere.

    use sea_orm::entity::prelude::*;

    use crate::id::{DeploymentId, NoticeId, ProjectId, TargetId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "notices")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: NoticeId,
        /// Random, or what makes it the only one of its kind.
        pub uid: String,
        pub event: String,
        pub project_id: Option<ProjectId>,
        pub target_id: Option<TargetId>,
        pub deployment_id: Option<DeploymentId>,
        /// The notice, as JSON.
        pub body: String,
        pub created_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
