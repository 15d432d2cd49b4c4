//! The table `processes`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::{id::ProcessId, word::words};

words! {
    /// What a process does.
    ProcessKind {
        /// Serves HTTP.
        Api = "api",
        /// Runs deployments.
        Worker = "worker",
        /// Both.
        Up = "up",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "processes")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: ProcessId,
    pub name: String,
    pub kind: ProcessKind,
    pub host: String,
    pub pid: i64,
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub seen_us: i64,
    pub concurrency: i64,
    pub draining: bool,
    pub labels: String,
    pub counters: String,
    /// The versions of the master keys that it has loaded, as a JSON list.
    pub key_versions: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
