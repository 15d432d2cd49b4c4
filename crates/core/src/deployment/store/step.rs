//! The steps of a run.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, Statement, sea_query::Expr,
};

use crate::{
    deployment::{
        entity::step::{ActiveModel, Column, Entity, Model},
        status::{Status, Transition},
        step::{Phase, StepStatus},
    },
    error::Result,
    id::{DeploymentId, StepId},
};

/// A step that a run is going to take.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// Its part of the pipeline.
    pub phase: Phase,
    /// Its name.
    pub name: String,
    /// The host it runs on.
    pub host: String,
}

/// Which run, and which attempt it is counted as.
#[derive(Clone, Copy, Debug)]
pub struct RunKey {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The run's fence.
    pub fence: i64,
    /// The attempt that it is counted as.
    pub attempt: i64,
}

/// Steps that one statement writes down.
const PLANNED_AT_ONCE: usize = 100;

/// Writes down what a run is going to do, and answers the rows in order; nothing when the run was
/// replaced.
///
/// # Errors
/// When the database fails.
pub async fn plan(
    conn: &impl ConnectionTrait,
    run: RunKey,
    steps: &[PlannedStep],
) -> Result<Vec<Model>> {
    let placed: Vec<(i64, &PlannedStep)> = (0_i64..).zip(steps).collect();
    for some in placed.chunks(PLANNED_AT_ONCE) {
        conn.execute_raw(insertion(conn.get_database_backend(), run, some))
            .await?;
    }
    Ok(Entity::find()
        .filter(Column::DeploymentId.eq(run.deployment))
        .filter(Column::Fence.eq(run.fence))
        .order_by_asc(Column::Position)
        .all(conn)
        .await?)
}

/// Inserts steps, but only while their run is the current one.
fn insertion(backend: DbBackend, run: RunKey, steps: &[(i64, &PlannedStep)]) -> Statement {
    let row = "SELECT id, fence, ?, ?, ?, ?, ?, ? FROM deployments \
               WHERE id = ? AND fence = ? AND status = ?";
    let sql = format!(
        "INSERT INTO steps \
         (deployment_id, fence, attempt, position, phase, name, host, status) {}",
        vec![row; steps.len()].join(" UNION ALL ")
    );
    let values = steps.iter().flat_map(|(position, step)| {
        let row: [sea_orm::Value; 9] = [
            run.attempt.into(),
            (*position).into(),
            step.phase.as_str().into(),
            step.name.as_str().into(),
            step.host.as_str().into(),
            StepStatus::Pending.as_str().into(),
            run.deployment.into(),
            run.fence.into(),
            Status::Running.as_str().into(),
        ];
        row
    });
    Statement::from_sql_and_values(backend, sql, values)
}

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

/// Notes that a step began.
///
/// # Errors
/// When the database fails.
pub async fn begin(conn: &impl ConnectionTrait, id: StepId, now: DateTime<Utc>) -> Result<()> {
    let begun = ActiveModel {
        status: Set(StepStatus::Running),
        started_at: Set(Some(now)),
        ..ActiveModel::default()
    };
    Entity::update_many()
        .set(begun)
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(StepStatus::Pending))
        .exec(conn)
        .await?;
    Ok(())
}

/// Notes how a step ended.
///
/// # Errors
/// When the database fails.
pub async fn end(
    conn: &impl ConnectionTrait,
    id: StepId,
    end: StepEnd,
    now: DateTime<Utc>,
) -> Result<()> {
    let ended = ActiveModel {
        status: Set(end.status),
        exit_code: Set(end.exit_code),
        signal: Set(end.signal),
        finished_at: Set(Some(now)),
        ..ActiveModel::default()
    };
    Entity::update_many()
        .set(ended)
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in([StepStatus::Pending, StepStatus::Running]))
        .exec(conn)
        .await?;
    Ok(())
}

/// Ends what a run left open when its deployment leaves `running`.
pub(super) async fn close(
    tx: &impl ConnectionTrait,
    deployment: DeploymentId,
    fence: i64,
    transition: &Transition,
    now: DateTime<Utc>,
) -> Result<()> {
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
    for (from, to) in [
        (StepStatus::Running, running_becomes),
        (StepStatus::Pending, StepStatus::Skipped),
    ] {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(to))
            .col_expr(Column::FinishedAt, Expr::value(now))
            .filter(Column::DeploymentId.eq(deployment))
            .filter(Column::Fence.eq(fence))
            .filter(Column::Status.eq(from))
            .exec(tx)
            .await?;
    }
    Ok(())
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
