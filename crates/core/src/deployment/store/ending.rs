//! Ending runs that succeeded, many in one transaction.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, DbBackend, EntityTrait as _, QueryFilter as _, QueryTrait as _, Value,
    sea_query::Expr,
};

use super::{
    apply::{Guard, leave},
    step,
};
use crate::{
    db::{self, Bundle, Db, Transaction, is_one_of, padded},
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::{Status, Transition, next},
    },
    error::Result,
    fail,
    id::{DeploymentId, TargetId},
    target::entity as target,
};

/// A run that succeeded.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The deployment as it was claimed.
    pub row: Model,
    /// When it ended.
    pub now: DateTime<Utc>,
}

/// Writes that these runs succeeded and frees their targets; in order, false for a run that is not
/// the current one any more.
pub async fn succeed_all(db: &Db, endings: Vec<Ending>) -> Vec<Result<bool>> {
    db::all_or_each(
        (endings, 1),
        |endings| async move {
            let bundle = success(db.backend(), &endings)?;
            fail::point("finish.before_bundle");
            let done = db.at_once(&bundle).await?;
            fail::point("finish.after_bundle");
            Ok(done.map(|_| vec![true; endings.len()]))
        },
        |ending| async move {
            let Ending { row, now } = &ending;
            let guard = || Guard::Fence(row.fence);
            let left = db::retried(|| leave_one(db, row, guard(), &Transition::Succeed, *now));
            Ok(left.await?.is_some())
        },
    )
    .await
}

/// Ends a run along one edge, in a transaction of its own; see [`leave`].
///
/// # Errors
/// When the state machine has no such edge, or the database fails.
pub async fn leave_one(
    db: &Db,
    row: &Model,
    guard: Guard,
    transition: &Transition,
    now: DateTime<Utc>,
) -> Result<Option<Status>> {
    let tx = db.begin().await?;
    let left = leave(&tx, row, guard, transition, now).await?;
    commit(tx).await?;
    Ok(left)
}

async fn commit(tx: Transaction) -> Result<()> {
    fail::point("finish.before_commit");
    tx.commit().await?;
    fail::point("finish.after_commit");
    Ok(())
}

/// Does nothing when one of them is not as it was claimed.
fn success(backend: DbBackend, endings: &[Ending]) -> Result<Bundle> {
    let to = next(Status::Running, &Transition::Succeed)
        .map_err(|illegal| db::broken(illegal.to_string()))?;
    let now = endings.iter().map(|ending| ending.now).max();
    let now = now.unwrap_or_else(db::now);
    let runs = endings
        .iter()
        .map(|ending| (ending.row.id, ending.row.fence));
    let runs: Vec<(DeploymentId, i64)> = padded(runs.collect());
    let nothing = || Expr::value(Value::String(None));
    let ended = Entity::update_many()
        .col_expr(Column::Status, Expr::value(to))
        .col_expr(Column::Reason, nothing())
        .col_expr(Column::ReasonText, nothing())
        .col_expr(Column::LeaseToken, nothing())
        .col_expr(Column::LeaseOwner, nothing())
        .col_expr(Column::LeaseUntil, Expr::value(Value::BigInt(None)))
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(is_one_of((Column::Id, Column::Fence), runs.clone()))
        .filter(Column::Status.eq(Status::Running));
    let closed = step::closing(&runs, &Transition::Succeed, now);
    let targets = endings.iter().map(|ending| ending.row.target_id);
    let targets: Vec<TargetId> = padded(targets.collect());
    let freed = target::Entity::update_many()
        .col_expr(target::Column::HolderId, Expr::value(Value::BigInt(None)))
        .filter(target::Column::Id.is_in(targets))
        .filter(target::Column::HolderId.is_in(runs.iter().map(|(id, _)| *id)));
    Ok(Bundle::default()
        .write_exactly(endings.len() as u64, ended.build(backend))
        .write(closed.build(backend))
        .write(freed.build(backend)))
}
