//! The parts of a run that are shown one by one.

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// Which part of the pipeline a step belongs to.
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
pub enum Phase {
    /// Fetching the commit.
    Checkout,
    /// On the worker, in the checkout.
    Build,
    /// In the new release folder, before it is live.
    Release,
    /// The switch itself.
    Activate,
    /// Once the release is live.
    After,
    /// Asking whether it works.
    Health,
    /// Putting the release before back.
    Rollback,
}

impl Phase {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Build => "build",
            Self::Release => "release",
            Self::Activate => "activate",
            Self::After => "after",
            Self::Health => "health",
            Self::Rollback => "rollback",
        }
    }
}

/// How far a step is.
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
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Under way.
    Running,
    /// It worked.
    Succeeded,
    /// It did not.
    Failed,
    /// Its condition did not hold, or an earlier step failed.
    Skipped,
    /// Somebody stopped it.
    Cancelled,
    /// Its worker was lost while it ran.
    Lost,
}

impl StepStatus {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}
