//! What runs are going to do, as it is written down beforehand: many runs' with one statement, and
//! with the claims of those of which it is known by then.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _,
    FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    Statement,
};

use super::super::{
    log::{self, Chunk},
    snapshot,
};
use crate::{
    db::{Bundle, Db, Done, is_one_of, padded, retried},
    deployment::{
        entity::step::{ActiveModel, Column, Entity},
        status::Status,
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

impl PlannedStep {
    fn status(&self) -> StepStatus {
        match self.begins {
            Some(_) => StepStatus::Running,
            None => StepStatus::Pending,
        }
    }
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
    let greetings = greetings(plans);
    let bundle = if greetings.is_empty() {
        bundle
    } else {
        bundle.write(log::insertion(backend, &greetings))
    };
    let bundle = bundle.read(ids(backend, plans));
    let done = retried(|| db.at_once(&bundle)).await?;
    of_runs(plans, done.unwrap_or_default())
}

/// Adds what some runs are going to do, and what their logs say so far, to the claims that have
/// proven them the current ones. The last thing that is read are the ids of their steps.
pub(in crate::deployment::store) fn with_claims(
    backend: DbBackend,
    claims: Bundle,
    plans: &[Plan],
) -> Bundle {
    if plans.is_empty() {
        return claims;
    }
    let rows: Vec<ActiveModel> = planned(plans).into_iter().map(row).collect();
    let mut bundle = claims;
    for some in rows.chunks(PLANNED_AT_ONCE) {
        bundle = bundle.write(Entity::insert_many(some.to_vec()).build(backend));
    }
    let greetings: Vec<Chunk> = greetings(plans);
    if !greetings.is_empty() {
        bundle = bundle.write(log::proven(backend, &greetings));
    }
    bundle.read(ids(backend, plans))
}

/// The ids of each run's steps, in order, from what was read last.
pub(in crate::deployment::store) fn of_runs(
    plans: &[Plan],
    mut done: Vec<Done>,
) -> Result<Vec<Vec<StepId>>> {
    let found = done.pop().unwrap_or_default();
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
pub(in crate::deployment::store) fn writes(backend: DbBackend, plans: &[Plan]) -> Vec<Statement> {
    let mut statements = snapshot::followed(backend, plans);
    let planned = planned(plans);
    let insertions = planned.chunks(PLANNED_AT_ONCE);
    statements.extend(insertions.map(|some| insertion(backend, some)));
    statements
}

fn greetings(plans: &[Plan]) -> Vec<Chunk> {
    let greetings = plans.iter().filter_map(|plan| plan.greeting.clone());
    greetings.collect()
}

/// Every step of some runs with its place.
fn planned(plans: &[Plan]) -> Vec<(RunKey, i64, &PlannedStep)> {
    let each = plans.iter().flat_map(|plan| {
        let placed = (0_i64..).zip(&plan.steps);
        placed.map(|(position, step)| (plan.run, position, step))
    });
    each.collect()
}

/// The row of a step whose run is known to be the current one.
fn row((run, position, step): (RunKey, i64, &PlannedStep)) -> ActiveModel {
    ActiveModel {
        deployment_id: Set(run.deployment),
        fence: Set(run.fence),
        attempt: Set(run.attempt),
        position: Set(position),
        phase: Set(step.phase),
        name: Set(step.name.clone()),
        host: Set(step.host.clone()),
        status: Set(step.status()),
        started_at: Set(step.begins),
        ..ActiveModel::default()
    }
}

/// The ids of a run's steps, in order.
///
/// # Errors
/// When the database fails.
pub async fn of_run(
    conn: &impl ConnectionTrait,
    deployment: DeploymentId,
    fence: i64,
) -> Result<Vec<StepId>> {
    Ok(Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::DeploymentId.eq(deployment))
        .filter(Column::Fence.eq(fence))
        .order_by_asc(Column::Position)
        .into_tuple()
        .all(conn)
        .await?)
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
        let row: [sea_orm::Value; 10] = [
            run.attempt.into(),
            position.into(),
            step.phase.as_str().into(),
            step.name.as_str().into(),
            step.host.as_str().into(),
            step.status().as_str().into(),
            step.begins.into(),
            run.deployment.into(),
            run.fence.into(),
            Status::Running.as_str().into(),
        ];
        row
    });
    Statement::from_sql_and_values(backend, sql, values.collect::<Vec<_>>())
}
