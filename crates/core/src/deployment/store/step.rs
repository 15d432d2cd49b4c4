//! The steps of a run. Those of many runs are written with one statement.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, ExprTrait as _,
    FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    Statement, UpdateMany,
    sea_query::{CaseStatement, Expr},
};

use super::{
    log::{self, Chunk},
    snapshot,
};
use crate::{
    db::{Bundle, Db, is_one_of, padded, retried},
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
    /// When it begins, if it does so as soon as it is written down.
    pub begins: Option<DateTime<Utc>>,
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
const PLANNED_AT_ONCE: usize = 128;

/// What a run is going to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run.
    pub run: RunKey,
    /// The pipeline that it follows, as JSON.
    pub pipeline: String,
    /// Its steps, in order.
    pub steps: Vec<PlannedStep>,
    /// What its log says so far.
    pub greeting: Option<Chunk>,
}

/// Writes down what some runs are going to do, and answers the ids of each run's steps in order;
/// none for a run that was replaced.
///
/// # Errors
/// When the database fails.
pub async fn plan(db: &Db, plans: &[Plan]) -> Result<Vec<Vec<StepId>>> {
    let backend = db.backend();
    let bundle = writes(backend, plans)
        .into_iter()
        .fold(Bundle::default(), Bundle::write);
    let greetings: Vec<Chunk> = plans
        .iter()
        .filter_map(|plan| plan.greeting.clone())
        .collect();
    let bundle = if greetings.is_empty() {
        bundle
    } else {
        bundle.write(log::insertion(backend, &greetings))
    };
    let bundle = bundle.read(ids(backend, plans));
    let done = retried(|| db.at_once(&bundle)).await?;
    let found = done.and_then(|mut done| done.pop()).unwrap_or_default();
    let mut rows: Vec<Planned> = Vec::with_capacity(found.rows.len());
    for row in &found.rows {
        rows.push(Planned::from_query_result(row, "")?);
    }
    let of_run = |run: RunKey| {
        rows.iter()
            .filter(move |row| (row.deployment_id, row.fence) == (run.deployment, run.fence))
            .map(|row| row.id)
            .collect()
    };
    Ok(plans.iter().map(|plan| of_run(plan.run)).collect())
}

/// The statements that write down what some runs are going to do, but for what their logs say.
pub(super) fn writes(backend: DbBackend, plans: &[Plan]) -> Vec<Statement> {
    let planned: Vec<(RunKey, i64, &PlannedStep)> = plans
        .iter()
        .flat_map(|plan| {
            let placed = (0_i64..).zip(&plan.steps);
            placed.map(|(position, step)| (plan.run, position, step))
        })
        .collect();
    let mut statements = snapshot::followed(backend, plans);
    let insertions = planned.chunks(PLANNED_AT_ONCE);
    statements.extend(insertions.map(|some| insertion(backend, some)));
    statements
}

#[derive(FromQueryResult)]
struct Planned {
    id: StepId,
    deployment_id: DeploymentId,
    fence: i64,
}

/// Asks for the steps of some runs, each run's in order.
fn ids(backend: DbBackend, plans: &[Plan]) -> Statement {
    let runs = plans
        .iter()
        .map(|plan| (plan.run.deployment, plan.run.fence));
    let steps = Entity::find()
        .select_only()
        .columns([Column::Id, Column::DeploymentId, Column::Fence])
        .filter(is_one_of(
            (Column::DeploymentId, Column::Fence),
            padded(runs.collect()),
        ))
        .order_by_asc(Column::DeploymentId)
        .order_by_asc(Column::Position);
    backend.build(steps.as_query())
}

/// Inserts steps, but only while their run is the current one.
fn insertion(backend: DbBackend, steps: &[(RunKey, i64, &PlannedStep)]) -> Statement {
    let row = "SELECT id, fence, ?, ?, ?, ?, ?, ?, ? FROM deployments \
               WHERE id = ? AND fence = ? AND status = ?";
    let length = steps.len().next_power_of_two();
    let sql = format!(
        "INSERT INTO steps \
         (deployment_id, fence, attempt, position, phase, name, host, status, started_at) {}",
        vec![row; length].join(" UNION ALL ")
    );
    let last = steps.last().copied();
    let surplus = last.map(|(run, position, step)| {
        // No deployment has this id, so nothing is inserted for it.
        let nowhere = RunKey {
            deployment: DeploymentId(0),
            ..run
        };
        (nowhere, position, step)
    });
    let rows = steps.iter().copied().chain(surplus.into_iter().cycle());
    let values = rows.take(length).flat_map(|(run, position, step)| {
        let status = match step.begins {
            Some(_) => StepStatus::Running,
            None => StepStatus::Pending,
        };
        let row: [sea_orm::Value; 10] = [
            run.attempt.into(),
            position.into(),
            step.phase.as_str().into(),
            step.name.as_str().into(),
            step.host.as_str().into(),
            status.as_str().into(),
            step.begins.into(),
            run.deployment.into(),
            run.fence.into(),
            Status::Running.as_str().into(),
        ];
        row
    });
    Statement::from_sql_and_values(backend, sql, values.collect::<Vec<_>>())
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
