//! What is queued or runs, as recovery compares it with the index.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
};

use crate::{
    db::now_us,
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::Status,
        trigger::Trigger,
    },
    error::Result,
    id::{DeploymentId, ProjectId, TargetId},
    lock::covering::Scope,
    ports::{Entry, LeaseToken},
};

/// An open row as the reconciler compares it with the index.
#[derive(Clone, Debug, FromQueryResult)]
pub struct OpenRow {
    /// The deployment.
    pub id: DeploymentId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its target.
    pub target_id: TargetId,
    /// Queued or running.
    pub status: Status,
    /// What made it, which is its priority.
    pub trigger_kind: Trigger,
    /// The lease's proof, if it runs.
    pub lease_token: Option<String>,
    /// When the lease runs out, in microseconds of the database's clock.
    pub lease_until: Option<i64>,
    /// When it may run, in microseconds of the database's clock.
    pub not_before: i64,
    /// The database's clock as the row was read.
    pub now: i64,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

impl OpenRow {
    /// The row as the index knows it.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry {
            id: self.id,
            target: self.target_id,
            priority: self.trigger_kind.into(),
        }
    }

    /// How long its lease still lasts; none if it has none or it has run out.
    #[must_use]
    pub fn lease_left(&self) -> Option<(LeaseToken, Duration)> {
        let left = u64::try_from(self.lease_until? - self.now)
            .ok()
            .filter(|left| *left > 0)?;
        let token = LeaseToken::from_stored(self.lease_token.clone()?);
        Some((token, Duration::from_micros(left)))
    }

    /// How long it still has to wait; none if its time has come.
    #[must_use]
    pub fn delay_left(&self) -> Option<Duration> {
        let left = u64::try_from(self.not_before - self.now)
            .ok()
            .filter(|left| *left > 0)?;
        Some(Duration::from_micros(left))
    }
}

/// Queued and running rows above `after`, in the order of the queue.
///
/// # Errors
/// When the database fails.
pub async fn open_rows(
    conn: &impl ConnectionTrait,
    after: DeploymentId,
    limit: u64,
) -> Result<Vec<OpenRow>> {
    Ok(columns(conn)
        .filter(Column::Status.is_in([Status::Queued, Status::Running]))
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_model::<OpenRow>()
        .all(conn)
        .await?)
}

/// The oldest queued row of each target below a scope.
///
/// # Errors
/// When the database fails.
pub async fn first_in_line(conn: &impl ConnectionTrait, scope: Scope) -> Result<Vec<OpenRow>> {
    let mut query = columns(conn)
        .filter(Column::Status.eq(Status::Queued))
        .order_by_asc(Column::Id);
    match scope {
        Scope::Everything => {}
        Scope::Project(project) => query = query.filter(Column::ProjectId.eq(project)),
        Scope::Target(_, target) => query = query.filter(Column::TargetId.eq(target)),
    }
    let mut rows = query.into_model::<OpenRow>().all(conn).await?;
    let mut seen = HashSet::new();
    rows.retain(|row| seen.insert(row.target_id));
    Ok(rows)
}

fn columns(conn: &impl ConnectionTrait) -> Select<Entity> {
    Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::ProjectId,
            Column::TargetId,
            Column::Status,
            Column::TriggerKind,
            Column::LeaseToken,
            Column::LeaseUntil,
            Column::NotBefore,
            Column::CreatedAt,
        ])
        .expr_as(now_us(conn.get_database_backend()), "now")
}

/// A run as its lease shows it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Run {
    /// The deployment.
    pub id: DeploymentId,
    /// The process that holds the lease.
    #[sea_orm(from_alias = "lease_owner")]
    pub owner: Option<String>,
    /// When the lease runs out, in microseconds of the database's clock.
    pub lease_until: Option<i64>,
    /// The database's clock as the row was read.
    pub now: i64,
}

impl Run {
    /// How long the lease still lasts; negative once it has run out.
    #[must_use]
    pub fn left(&self) -> chrono::Duration {
        chrono::Duration::microseconds(self.lease_until.unwrap_or(self.now) - self.now)
    }

    /// How long ago it was renewed, given how long a lease lasts.
    #[must_use]
    pub fn age(&self, lease: Duration) -> chrono::Duration {
        let lease = chrono::Duration::from_std(lease).unwrap_or_default();
        (lease - self.left()).max(chrono::Duration::zero())
    }
}

/// Everything that runs, in the order of the queue.
///
/// # Errors
/// When the database fails.
pub async fn runs(conn: &impl ConnectionTrait) -> Result<Vec<Run>> {
    Ok(Entity::find()
        .select_only()
        .columns([Column::Id, Column::LeaseOwner, Column::LeaseUntil])
        .expr_as(now_us(conn.get_database_backend()), "now")
        .filter(Column::Status.eq(Status::Running))
        .order_by_asc(Column::Id)
        .into_model::<Run>()
        .all(conn)
        .await?)
}

/// Whole rows of what waits or runs, in the order of the queue, above `after`.
///
/// # Errors
/// When the database fails.
pub async fn in_order(
    conn: &impl ConnectionTrait,
    after: DeploymentId,
    limit: u64,
) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Status.is_in([Status::Queued, Status::Running]))
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// Those of these deployments that are still queued or running, as the index should know them.
///
/// # Errors
/// When the database fails.
pub async fn still_open(conn: &impl ConnectionTrait, ids: &[DeploymentId]) -> Result<Vec<Entry>> {
    let rows: Vec<(DeploymentId, TargetId, Trigger)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::TargetId, Column::TriggerKind])
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::Status.is_in([Status::Queued, Status::Running]))
        .into_tuple()
        .all(conn)
        .await?;
    let entry = |(id, target, trigger): (DeploymentId, TargetId, Trigger)| Entry {
        id,
        target,
        priority: trigger.into(),
    };
    Ok(rows.into_iter().map(entry).collect())
}
