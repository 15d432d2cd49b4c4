//! The whole queue, for those who operate Slipway.

use chrono::{DateTime, Utc};

use super::{
    detail::{Detail, ProjectName, TargetName, details},
    store::{
        self,
        open::{Run, runs},
        read::Depth,
    },
};
use crate::{
    access::{Actor, Permission},
    ctx::Ctx,
    error::Result,
    id::DeploymentId,
    lock::{
        self,
        covering::{Lock, Locks},
    },
    project, target,
};

/// The queue in numbers.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How many there are of each open state, and since when the oldest waits.
    pub depth: Depth,
    /// Most that may wait.
    pub limit: u32,
    /// Most that may run.
    pub max_running: u32,
    /// Whether new work can be taken.
    pub is_healthy: bool,
    /// Everything that runs.
    pub runs: Vec<Run>,
    /// What keeps deployments from starting.
    pub locks: Vec<NamedLock>,
    /// The time at which this was read.
    pub now: DateTime<Utc>,
}

/// A lock with the names of what it is on.
#[derive(Clone, Debug)]
pub struct NamedLock {
    /// The lock.
    pub lock: Lock,
    /// Its project, unless it is on everything.
    pub project: Option<ProjectName>,
    /// Its target, if it is on one.
    pub target: Option<TargetName>,
}

async fn named(ctx: &Ctx, locks: Locks) -> Result<Vec<NamedLock>> {
    let conn = ctx.db.reader();
    let projects: Vec<_> = locks.0.iter().filter_map(|it| it.row.project_id).collect();
    let targets: Vec<_> = locks.0.iter().filter_map(|it| it.row.target_id).collect();
    let projects = project::store::find_many(conn, &projects).await?;
    let targets = target::store::find_many(conn, &targets).await?;
    let named = locks.0.into_iter().map(|lock| {
        let project = projects
            .iter()
            .find(|it| Some(it.id) == lock.row.project_id);
        let target = targets.iter().find(|it| Some(it.id) == lock.row.target_id);
        NamedLock {
            project: project.map(ProjectName::from),
            target: target.map(TargetName::from),
            lock,
        }
    });
    Ok(named.collect())
}

impl Summary {
    /// How long the oldest waiting deployment has waited.
    #[must_use]
    pub fn oldest_age(&self) -> Option<chrono::Duration> {
        let age = self.now - self.depth.oldest?;
        Some(age.max(chrono::Duration::zero()))
    }
}

/// The queue in numbers.
///
/// # Errors
/// [`crate::error::Error::Forbidden`].
pub async fn summary(ctx: &Ctx, actor: &Actor, now: DateTime<Utc>) -> Result<Summary> {
    actor.require(Permission::Observe, None)?;
    let conn = ctx.db.reader();
    Ok(Summary {
        depth: store::read::depth(conn).await?,
        limit: ctx.settings.queue.backlog_limit,
        max_running: ctx.settings.queue.max_running,
        is_healthy: ctx.health.is_healthy(),
        runs: runs(conn).await?,
        locks: named(ctx, lock::store::active(conn).await?).await?,
        now,
    })
}

/// What waits or runs, in the order of the queue, above `after`.
///
/// # Errors
/// [`crate::error::Error::Forbidden`].
pub async fn items(
    ctx: &Ctx,
    actor: &Actor,
    after: DeploymentId,
    limit: u64,
) -> Result<Vec<Detail>> {
    actor.require(Permission::Observe, None)?;
    let rows = store::open::in_order(ctx.db.reader(), after, limit).await?;
    details(ctx, rows).await
}
