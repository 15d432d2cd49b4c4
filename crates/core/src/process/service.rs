//! What people see of the processes.

use chrono::{DateTime, Utc};

use super::{
    counters::Counted,
    entity::{Model, ProcessKind},
    store,
};
use crate::{
    access::{Actor, Permission},
    ctx::Ctx,
    db::micros,
    deployment::store::{
        claim::clock,
        open::{Run, runs},
    },
    error::Result,
};

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It was heard of within the length of a lease.
    Live,
    /// It takes nothing new and ends once what it runs has ended.
    Draining,
    /// Nothing was heard of it for the length of a lease.
    Lost,
}

impl Standing {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// A process as the others see it now.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its row.
    pub row: Model,
    /// How it stands.
    pub standing: Standing,
    /// When it was last heard of.
    pub seen_at: DateTime<Utc>,
    /// Words that its operator gave it.
    pub labels: Vec<String>,
    /// What it has counted.
    pub counted: Counted,
    /// What it runs.
    pub runs: Vec<Run>,
}

/// The processes that run deployments, oldest first, with what they run.
///
/// # Errors
/// [`crate::error::Error::Forbidden`].
pub async fn workers(ctx: &Ctx, actor: &Actor) -> Result<Vec<Seen>> {
    let mut all = processes(ctx, actor).await?;
    all.retain(|seen| seen.row.kind != ProcessKind::Api);
    Ok(all)
}

/// Every process, oldest first, with what it runs.
///
/// # Errors
/// [`crate::error::Error::Forbidden`].
pub async fn processes(ctx: &Ctx, actor: &Actor) -> Result<Vec<Seen>> {
    actor.require(Permission::Observe, None)?;
    let conn = ctx.db.reader();
    let mut running = runs(conn).await?;
    let rows = store::list(conn).await?;
    let lost_before = clock(conn).await? - micros(ctx.settings.queue.lease());
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let is_its = |run: &mut Run| run.owner.as_deref() == Some(row.name.as_str());
        let standing = if row.seen_us < lost_before {
            Standing::Lost
        } else if row.draining {
            Standing::Draining
        } else {
            Standing::Live
        };
        all.push(Seen {
            runs: running.extract_if(.., is_its).collect(),
            standing,
            seen_at: DateTime::from_timestamp_micros(row.seen_us).unwrap_or_default(),
            labels: serde_json::from_str(&row.labels).unwrap_or_default(),
            // Another version may count something else.
            counted: serde_json::from_str(&row.counters).unwrap_or_default(),
            row,
        });
    }
    Ok(all)
}
