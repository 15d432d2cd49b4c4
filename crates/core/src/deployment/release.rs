//! The releases that a target keeps.

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// What a release folder is.
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
pub enum ReleaseState {
    /// `current` points at it.
    Live,
    /// It can be brought back.
    Kept,
    /// It was live, failed its health check, and was taken back.
    Failed,
    /// Its folder is gone.
    Pruned,
}

impl ReleaseState {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Kept => "kept",
            Self::Failed => "failed",
            Self::Pruned => "pruned",
        }
    }
}
