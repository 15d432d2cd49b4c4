//! What made a deployment.

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// What made a deployment.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    EnumIter,
    DeriveActiveEnum,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(sea_orm::prelude::StringLen::N(16))",
    rename_all = "snake_case"
)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person, in the browser or over the API.
    Manual,
    /// A person, to repeat one that ended badly.
    Retry,
    /// A push to the repository.
    Webhook,
    /// The clock.
    Schedule,
    /// A person, to bring an older release back.
    Rollback,
}

impl Trigger {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Retry => "retry",
            Self::Webhook => "webhook",
            Self::Schedule => "schedule",
            Self::Rollback => "rollback",
        }
    }
}
