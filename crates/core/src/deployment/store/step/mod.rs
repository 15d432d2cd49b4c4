//! The steps of a run: how they begin and end. Those of many runs are written with one statement.

mod plan;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, UpdateMany,
    sea_query::{CaseStatement, Expr},
};

pub use plan::{Plan, PlannedStep, RunKey, of_run, plan};
pub(super) use plan::{of_runs, with_claims, writes};

use crate::{
    db::{is_one_of, padded},
    deployment::{
        entity::step::{ActiveModel, Column, Entity, Model},
        status::Transition,
        step::StepStatus,
    },
    error::Result,
    id::{DeploymentId, StepId},
};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepEnd {
    /// Whether it worked.
    pub status: StepStatus,
    /// The exit code, if it exited.
    pub exit_code: Option<i64>,
    /// The signal that ended it, if one did.
    pub signal: Option<i64>,
}

/// Notes that steps began.
///
/// # Errors
/// When the database fails.
pub async fn begin(conn: &impl ConnectionTrait, ids: &[StepId], now: DateTime<Utc>) -> Result<()> {
    let begun = ActiveModel {
        status: Set(StepStatus::Running),
        started_at: Set(Some(now)),
        ..ActiveModel::default()
    };
    Entity::update_many()
        .set(begun)
        .filter(Column::Id.is_in(padded(ids.to_vec())))
        .filter(Column::Status.eq(StepStatus::Pending))
        .exec(conn)
        .await?;
    Ok(())
}

/// Notes how steps ended.
///
/// # Errors
/// When the database fails.
pub async fn end(
    conn: &impl ConnectionTrait,
    ends: &[(StepId, StepEnd)],
    now: DateTime<Utc>,
) -> Result<()> {
    for update in ended(ends, now) {
        update.exec(conn).await?;
    }
    Ok(())
}

/// The updates that note how steps ended; those that ended alike share one.
pub(super) fn ended(ends: &[(StepId, StepEnd)], now: DateTime<Utc>) -> Vec<UpdateMany<Entity>> {
    let mut alike: Vec<(StepEnd, Vec<StepId>)> = Vec::new();
    for (id, end) in ends {
        match alike.iter_mut().find(|(other, _)| other == end) {
            Some((_, ids)) => ids.push(*id),
            None => alike.push((*end, vec![*id])),
        }
    }
    let updates = alike.into_iter().map(|(end, ids)| {
        let ended = ActiveModel {
            status: Set(end.status),
            exit_code: Set(end.exit_code),
            signal: Set(end.signal),
            finished_at: Set(Some(now)),
            ..ActiveModel::default()
        };
        Entity::update_many()
            .set(ended)
            .filter(Column::Id.is_in(padded(ids)))
            .filter(Column::Status.is_in([StepStatus::Pending, StepStatus::Running]))
    });
    updates.collect()
}

/// Ends what runs have left open when their deployments leave `running`.
pub(super) fn closing(
    runs: &[(DeploymentId, i64)],
    transition: &Transition,
    now: DateTime<Utc>,
) -> UpdateMany<Entity> {
    let running_becomes = match transition {
        Transition::Interrupt | Transition::HandBack => StepStatus::Lost,
        Transition::Cancel { .. } => StepStatus::Cancelled,
        Transition::Approve
        | Transition::Reject { .. }
        | Transition::Start
        | Transition::Succeed
        | Transition::Fail(_)
        | Transition::RetryLater { .. }
        | Transition::Supersede { .. } => StepStatus::Failed,
    };
    let left = CaseStatement::new()
        .case(
            Expr::col(Column::Status).eq(StepStatus::Running),
            running_becomes,
        )
        .finally(StepStatus::Skipped);
    Entity::update_many()
        .col_expr(Column::Status, left.into())
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(is_one_of(
            (Column::DeploymentId, Column::Fence),
            runs.to_vec(),
        ))
        .filter(Column::Status.is_in([StepStatus::Pending, StepStatus::Running]))
}

/// Every step of every run, oldest run first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, deployment: DeploymentId) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::DeploymentId.eq(deployment))
        .order_by_asc(Column::Fence)
        .order_by_asc(Column::Position)
        .all(conn)
        .await?)
}

/// The steps of many deployments at once, for lists.
///
/// # Errors
/// When the database fails.
pub async fn list_many(
    conn: &impl ConnectionTrait,
    deployments: &[DeploymentId],
) -> Result<Vec<Model>> {
    if deployments.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Entity::find()
        .filter(Column::DeploymentId.is_in(deployments.iter().copied()))
        .order_by_asc(Column::DeploymentId)
        .order_by_asc(Column::Fence)
        .order_by_asc(Column::Position)
        .all(conn)
        .await?)
}
