//! What deployments were made of: the pipelines that they follow and the commits that they found.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _,
    QueryTrait as _, Statement,
    sea_query::{CaseStatement, Expr, SimpleExpr},
};

use super::step::Plan;
use crate::{
    db::{Db, is_one_of, padded},
    deployment::{
        entity::deployment::{ActiveModel, Column, Entity},
        status::Status,
    },
    error::Result,
    id::DeploymentId,
};

/// The statements that record which pipelines some runs follow; those that follow the same share
/// one. A run that was replaced records nothing.
pub(super) fn followed(backend: DbBackend, plans: &[Plan]) -> Vec<Statement> {
    let recorded = alike(plans).into_iter().map(|(pipeline, runs)| {
        Entity::update_many()
            .col_expr(Column::Pipeline, Expr::value(pipeline))
            .filter(is_one_of((Column::Id, Column::Fence), padded(runs)))
            .filter(Column::Status.eq(Status::Running))
            .build(backend)
    });
    recorded.collect()
}

/// The pipelines that some runs follow as what a claim writes into their rows.
pub(super) fn following(plans: &[Plan]) -> SimpleExpr {
    let cases = alike(plans)
        .into_iter()
        .fold(CaseStatement::new(), |cases, (pipeline, runs)| {
            let ids = padded(runs.into_iter().map(|(id, _)| id).collect());
            cases.case(Column::Id.is_in(ids), Expr::value(pipeline))
        });
    cases.finally(Expr::col(Column::Pipeline)).into()
}

/// The runs that follow the same pipeline, for each.
fn alike(plans: &[Plan]) -> Vec<(&str, Vec<(DeploymentId, i64)>)> {
    let mut alike: Vec<(&str, Vec<(DeploymentId, i64)>)> = Vec::new();
    for plan in plans {
        let run = (plan.run.deployment, plan.run.fence);
        match alike.iter_mut().find(|(other, _)| *other == plan.pipeline) {
            Some((_, runs)) => runs.push(run),
            None => alike.push((&plan.pipeline, vec![run])),
        }
    }
    alike
}

/// What a deployment was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The exact commit.
    pub commit_id: Option<String>,
    /// The first line of its message.
    pub commit_subject: Option<String>,
    /// Who wrote it.
    pub commit_author: Option<String>,
}

/// Records what a run found out, while it is the current one; false when it was replaced.
///
/// # Errors
/// When the database fails.
pub async fn set_snapshot(
    conn: &impl ConnectionTrait,
    id: DeploymentId,
    fence: i64,
    snapshot: Snapshot,
) -> Result<bool> {
    let run = is_one_of((Column::Id, Column::Fence), vec![(id, fence)]);
    Ok(write(conn, run, snapshot).await? == 1)
}

/// The same for many runs, in order. Those that found out the same share a statement.
pub async fn set_snapshots(db: &Db, seen: Vec<(DeploymentId, i64, Snapshot)>) -> Vec<Result<bool>> {
    if let [(.., first), others @ ..] = seen.as_slice()
        && !others.is_empty()
        && others.iter().all(|(.., other)| other == first)
    {
        let runs = seen.iter().map(|(id, fence, _)| (*id, *fence)).collect();
        let runs = is_one_of((Column::Id, Column::Fence), padded(runs));
        let written = write(db.writer(), runs, first.clone()).await;
        if written.is_ok_and(|written| written == seen.len() as u64) {
            return seen.iter().map(|_| Ok(true)).collect();
        }
    }
    let mut outcomes = Vec::with_capacity(seen.len());
    for (id, fence, snapshot) in seen {
        outcomes.push(set_snapshot(db.writer(), id, fence, snapshot).await);
    }
    outcomes
}

/// Answers how many were the current ones.
async fn write(conn: &impl ConnectionTrait, runs: Condition, snapshot: Snapshot) -> Result<u64> {
    // Whatever a commit says about itself has to fit its column.
    let fitting = |text: String| text.chars().take(255).collect::<String>();
    let values = ActiveModel {
        commit_id: Set(snapshot.commit_id),
        commit_subject: Set(snapshot.commit_subject.map(fitting)),
        commit_author: Set(snapshot.commit_author.map(fitting)),
        ..ActiveModel::default()
    };
    let updated = Entity::update_many()
        .set(values)
        .filter(runs)
        .filter(Column::Status.eq(Status::Running))
        .exec(conn)
        .await?;
    Ok(updated.rows_affected)
}
