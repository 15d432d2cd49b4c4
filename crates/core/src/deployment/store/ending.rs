//! Ending runs, with the last that they have to say; those that succeeded many in one transaction.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, ExprTrait as _,
    QueryFilter as _, QueryTrait as _, Value,
    sea_query::{Expr, Query, SelectStatement},
};

use super::{
    apply::{Guard, leave},
    log::{self, Chunk, TOGETHER_BYTES_MAX},
    step::{self, Plan, StepEnd},
};
use crate::{
    db::{self, Bundle, Db, Done, Line, Transaction, distinct, is_one_of, padded},
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::{Status, Transition, next},
    },
    error::Result,
    fail,
    id::{DeploymentId, StepId, TargetId},
    notify::outbox::{
        self,
        deployment::{Happening, SUCCEEDED, mask},
    },
    project,
    target::entity as target,
};

/// What a run has not written down yet when it ends.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// What a run that left out every step would have done. What it says of the log is not written.
    pub plan: Option<Plan>,
    /// How its last step ended, and when.
    pub step: Option<(StepId, StepEnd, DateTime<Utc>)>,
    /// The end of its log.
    pub output: Option<Chunk>,
}

/// A run that succeeded.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The deployment as it was claimed.
    pub row: Model,
    /// What is written with it.
    pub last: Last,
    /// When it ended.
    pub now: DateTime<Utc>,
}

/// Writes that these runs succeeded and frees their targets; in order, false for a run that is not
/// the current one any more.
pub async fn succeed_all(db: &Db, endings: Vec<Ending>) -> Vec<Result<bool>> {
    db::all_or_each(
        (endings, 1),
        |endings| async move {
            let output = endings
                .iter()
                .filter_map(|ending| ending.last.output.as_ref());
            if output.map(Chunk::size_bytes).sum::<usize>() > TOGETHER_BYTES_MAX {
                return Ok(None);
            }
            let bundle = success(db.backend(), &endings, Hearers::None)?;
            fail::point("finish.before_bundle");
            let mut done = db.at_once(&bundle).await?;
            fail::point("finish.after_bundle");
            if done.is_none() {
                done = succeed_heard(db, &endings).await?;
            }
            Ok(done.map(|_| vec![true; endings.len()]))
        },
        |ending| async move {
            let Ending { row, last, now } = &ending;
            let left = db::retried(|| leave_one(db, (row, last), &Transition::Succeed, *now));
            Ok(left.await?.is_some())
        },
    )
    .await
}

/// Ends a run that is the current one along one edge, in a transaction of its own; see [`leave`].
///
/// # Errors
/// When the state machine has no such edge, or the database fails.
pub async fn leave_one(
    db: &Db,
    (row, last): (&Model, &Last),
    transition: &Transition,
    now: DateTime<Utc>,
) -> Result<Option<Status>> {
    let tx = db.begin().await?;
    for statement in step::writes(db.backend(), last.plan.as_slice()) {
        tx.execute_raw(statement).await?;
    }
    // Before the state, which ends whatever it finds open.
    if let Some((id, end, at)) = last.step {
        step::end(&tx, &[(id, end)], at).await?;
    }
    let left = leave(&tx, row, Guard::Fence(row.fence), transition, now).await?;
    let Some(left) = left else {
        return Ok(None);
    };
    if let Some(output) = &last.output {
        tx.execute_raw(log::proven(db.backend(), std::slice::from_ref(output)))
            .await?;
    }
    left.tell(&tx, transition, now).await?;
    commit(tx).await?;
    Ok(Some(left.row.status))
}

async fn commit(tx: Transaction) -> Result<()> {
    fail::point("finish.before_commit");
    tx.commit().await?;
    fail::point("finish.after_commit");
    Ok(())
}

/// Whether anybody may be told of successes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearers {
    /// Nobody may, or nothing is written.
    None,
    /// Whoever is to be told is told already.
    Told,
}

/// The same with who is told of it. Nothing is written when nobody is, which the usual bundle does.
async fn succeed_heard(db: &Db, endings: &[Ending]) -> Result<Option<Vec<Done>>> {
    let (tx, is_heard) = db.begin_at_once(|tx| tell(tx, endings)).await?;
    if !is_heard {
        tx.roll_back().await;
        return Ok(None);
    }
    let bundle = success(db.backend(), endings, Hearers::Told)?;
    tx.finish(&bundle).await
}

/// Writes who is told; false when there is nobody. The rows are read anew: a run finds its commit only
/// after its claim.
async fn tell(tx: Line, endings: &[Ending]) -> Result<bool> {
    let projects = distinct(endings.iter().map(|ending| ending.row.project_id));
    let projects = project::store::find_many(&tx, &projects).await?;
    let told = |row: &Model| {
        let of = projects.iter().find(|it| it.id == row.project_id);
        of.map_or(0, |it| it.told)
    };
    let ids = endings.iter().map(|ending| ending.row.id);
    let rows = super::read::find_many(&tx, &padded(ids.collect())).await?;
    let happenings: Vec<Happening> = endings
        .iter()
        .filter_map(|ending| {
            let row = rows.iter().find(|row| row.id == ending.row.id)?;
            let happening = Happening::of(row, &Transition::Succeed, ending.now)?;
            outbox::is_heard(told(row), &happening).then_some(happening)
        })
        .collect();
    outbox::note(&tx, &happenings).await?;
    Ok(!happenings.is_empty())
}

/// Does nothing when one of them is not as it was claimed.
fn success(backend: DbBackend, endings: &[Ending], hearers: Hearers) -> Result<Bundle> {
    let to = next(Status::Running, &Transition::Succeed)
        .map_err(|illegal| db::broken(illegal.to_string()))?;
    let now = endings.iter().map(|ending| ending.now).max();
    let now = now.unwrap_or_else(db::now);
    let runs = endings
        .iter()
        .map(|ending| (ending.row.id, ending.row.fence));
    let runs: Vec<(DeploymentId, i64)> = padded(runs.collect());
    let nothing = || Expr::value(Value::String(None));
    let mut ended = Entity::update_many()
        .col_expr(Column::Status, Expr::value(to))
        .col_expr(Column::Reason, nothing())
        .col_expr(Column::ReasonText, nothing())
        .col_expr(Column::LeaseToken, nothing())
        .col_expr(Column::LeaseOwner, nothing())
        .col_expr(Column::LeaseUntil, Expr::value(Value::BigInt(None)))
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(is_one_of((Column::Id, Column::Fence), runs.clone()))
        .filter(Column::Status.eq(Status::Running));
    if hearers == Hearers::None {
        ended = ended.filter(Expr::exists(heard()).not());
    }
    let ends = endings.iter().filter_map(|ending| ending.last.step);
    let latest = ends.clone().map(|(.., at)| at).max().unwrap_or(now);
    let ends: Vec<(StepId, StepEnd)> = ends.map(|(id, end, _)| (id, end)).collect();
    let steps = step::ended(&ends, latest);
    let closed = step::closing(&runs, &Transition::Succeed, now);
    let targets = endings.iter().map(|ending| ending.row.target_id);
    let targets: Vec<TargetId> = padded(targets.collect());
    let freed = target::Entity::update_many()
        .col_expr(target::Column::HolderId, Expr::value(Value::BigInt(None)))
        .filter(target::Column::Id.is_in(targets))
        .filter(target::Column::HolderId.is_in(runs.iter().map(|(id, _)| *id)));
    let plans = endings.iter().filter_map(|ending| ending.last.plan.clone());
    // Only a run that is the current one writes what it would have done.
    let bundle = step::writes(backend, &plans.collect::<Vec<_>>())
        .into_iter()
        .fold(Bundle::default(), Bundle::write)
        .write_exactly(endings.len() as u64, ended.build(backend));
    // Before what closes the steps that were left open.
    let bundle = steps
        .into_iter()
        .map(|update| update.build(backend))
        .fold(bundle, Bundle::write)
        .write(closed.build(backend))
        .write(freed.build(backend));
    let output = endings
        .iter()
        .filter_map(|ending| ending.last.output.clone());
    let output: Vec<Chunk> = output.collect();
    if output.is_empty() {
        return Ok(bundle);
    }
    Ok(bundle.write(log::proven(backend, &output)))
}

/// The deployment's project, if anybody may be told of a success.
fn heard() -> SelectStatement {
    let column = |column| Expr::col((project::entity::Entity, column));
    Query::select()
        .expr(Expr::value(1_i64))
        .from(project::entity::Entity)
        .and_where(column(project::entity::Column::Id).equals((Entity, Column::ProjectId)))
        .and_where(
            column(project::entity::Column::Told)
                .bit_and(mask(&SUCCEEDED))
                .ne(0_i64),
        )
        .to_owned()
}
