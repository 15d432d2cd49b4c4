//! Taking a queued deployment, keeping it, and noticing that it was lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
    sea_query::{Expr, Query, SelectStatement},
};

use crate::{
    db::{Db, after_us, now_us},
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::{Status, Transition, next},
        trigger::Trigger,
    },
    error::Result,
    fail,
    id::{DeploymentId, TargetId},
    lock,
    ports::{Entry, LeaseToken},
    target::entity as target,
};

/// Claims that may be under way at once in all processes together.
const AT_ONCE: i64 = 256;
/// No lock that expires lasts this long.
const FOR_EVER: Duration = Duration::from_secs(200 * 365 * 24 * 3600);

/// Who claims, and for how long.
#[derive(Clone, Debug)]
pub struct Claimant<'a> {
    /// The worker's name, fresh at each start.
    pub owner: &'a str,
    /// The lease's proof.
    pub token: &'a LeaseToken,
    /// How long the lease lasts without renewal.
    pub lease: Duration,
    /// Most deployments that may run everywhere.
    pub max_running: u32,
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It runs now, under this fence and token.
    Won(Box<Model>),
    /// There is no such deployment, or it has ended: the index may forget it.
    Ended,
    /// Another token holds it for this long.
    Held(LeaseToken, Duration),
    /// Its time has not come.
    NotYet(Duration),
    /// A lock covers its target for this long; with none, until somebody lifts it.
    Locked(Option<Duration>),
    /// An older one of the same target goes first.
    Behind(Entry),
    /// Something changed between looking and writing: look again later.
    Raced,
}

/// Microseconds since 1970 on the database's clock.
///
/// # Errors
/// When the database fails.
pub async fn clock(conn: &impl ConnectionTrait) -> Result<i64> {
    let backend = conn.get_database_backend();
    let query = Query::select().expr_as(now_us(backend), "now").to_owned();
    let answer = conn.query_one(&query).await?;
    let row = answer.ok_or_else(|| crate::db::broken("the database answers no clock"))?;
    Ok(row.try_get("", "now")?)
}

/// Claims a deployment in one transaction: its target's slot, its place in the line, and its row.
///
/// # Errors
/// When the database fails. The outcome is unknown then; [`held_by`] tells.
pub async fn claim(
    db: &Db,
    id: DeploymentId,
    by: &Claimant<'_>,
    now: DateTime<Utc>,
) -> Result<Claim> {
    let Some(row) = Entity::find_by_id(id).one(db.reader()).await? else {
        return Ok(Claim::Ended);
    };
    match row.status {
        Status::Queued => {}
        Status::Running => return held(db, &row).await,
        Status::AwaitingApproval
        | Status::Succeeded
        | Status::Failed
        | Status::Cancelled
        | Status::Superseded => return Ok(Claim::Ended),
    }
    if row.not_before > 0 {
        let wait = row.not_before - clock(db.reader()).await?;
        if let Ok(micros @ 1..) = u64::try_from(wait) {
            return Ok(Claim::NotYet(Duration::from_micros(micros)));
        }
    }
    crate::db::retried(|| take(db, &row, by, now)).await
}

async fn held(db: &Db, row: &Model) -> Result<Claim> {
    let left = row.lease_until.unwrap_or_default() - clock(db.reader()).await?;
    let Some(token) = &row.lease_token else {
        return Ok(Claim::Raced);
    };
    let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
    Ok(Claim::Held(LeaseToken::from_stored(token.clone()), left))
}

async fn take(db: &Db, row: &Model, by: &Claimant<'_>, now: DateTime<Utc>) -> Result<Claim> {
    let tx = db.begin().await?;
    if let Some(older) = older_open(&tx, row).await? {
        return Ok(Claim::Behind(older));
    }
    // A newer holder that waits for its next attempt steps back: an older one may have been
    // approved meanwhile. That no newer one runs is checked below, under the slot's lock.
    let slot = target::Entity::update_many()
        .col_expr(
            target::Column::Epoch,
            Expr::col(target::Column::Epoch).add(1),
        )
        .col_expr(target::Column::HolderId, Expr::value(row.id))
        .filter(target::Column::Id.eq(row.target_id))
        .filter(
            target::Column::HolderId
                .is_null()
                .or(target::Column::HolderId.gte(row.id)),
        )
        .exec(&tx)
        .await?;
    if slot.rows_affected == 0 || is_running(&tx, row.target_id).await? {
        return Ok(Claim::Raced);
    }
    let locked_for = lock::store::locked_for(&tx, row.project_id, row.target_id);
    let found: Option<(i64, Option<i64>, i64)> = target::Entity::find_by_id(row.target_id)
        .select_only()
        .column(target::Column::Epoch)
        .expr_as(nested(locked_for), "locked_for")
        .expr_as(nested(running()), "running")
        .into_tuple()
        .one(&tx)
        .await?;
    let Some((fence, locked_for, running)) = found else {
        return Ok(Claim::Ended);
    };
    if let Some(micros) = locked_for {
        // Some centuries are no end.
        let left = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        return Ok(Claim::Locked((left < FOR_EVER).then_some(left)));
    }
    if !has_room(&tx, running, by.max_running).await? {
        return Ok(Claim::Raced);
    }
    if !start(&tx, row, by, fence, now).await? {
        return Ok(Claim::Raced);
    }
    fail::point("claim.before_commit");
    tx.commit().await?;
    fail::point("claim.after_commit");
    let won = Entity::find_by_id(row.id).one(db.writer()).await?;
    Ok(won.map_or(Claim::Ended, |row| Claim::Won(Box::new(row))))
}

/// Whether one more may run. The index counts too, but it may have lost its data a moment ago; near
/// the limit the gate makes those that start wait for each other.
async fn has_room(tx: &impl ConnectionTrait, running: i64, limit: u32) -> Result<bool> {
    if running + AT_ONCE < i64::from(limit) {
        return Ok(true);
    }
    let sql = "UPDATE queue_gate SET admitted = admitted + 1 WHERE id = 2";
    let gate = Statement::from_string(tx.get_database_backend(), sql);
    if tx.execute_raw(gate).await?.rows_affected() != 1 {
        return Err(crate::db::broken("the second row of queue_gate is missing"));
    }
    let running = Entity::find()
        .filter(Column::Status.eq(Status::Running))
        .count(tx)
        .await?;
    Ok(running < u64::from(limit))
}

fn nested(query: SelectStatement) -> Expr {
    Expr::SubQuery(None, Box::new(query.into()))
}

fn running() -> SelectStatement {
    Query::select()
        .expr(Expr::col(Column::Id).count())
        .from(Entity)
        .and_where(Column::Status.eq(Status::Running))
        .to_owned()
}

async fn start(
    tx: &impl ConnectionTrait,
    row: &Model,
    by: &Claimant<'_>,
    fence: i64,
    now: DateTime<Utc>,
) -> Result<bool> {
    let to = next(row.status, &Transition::Start)
        .map_err(|illegal| crate::db::broken(illegal.to_string()))?;
    let backend = tx.get_database_backend();
    let updated = Entity::update_many()
        .col_expr(Column::Status, Expr::value(to))
        .col_expr(Column::Attempt, Expr::col(Column::Attempt).add(1))
        .col_expr(Column::Fence, Expr::value(fence))
        .col_expr(Column::LeaseToken, Expr::value(by.token.as_str()))
        .col_expr(Column::LeaseOwner, Expr::value(by.owner))
        .col_expr(Column::LeaseUntil, after_us(backend, by.lease))
        .col_expr(
            Column::StartedAt,
            Expr::value(row.started_at.unwrap_or(now)),
        )
        .filter(Column::Id.eq(row.id))
        .filter(Column::Status.eq(Status::Queued))
        .filter(Column::CancelRequestedAt.is_null())
        .filter(Expr::col(Column::NotBefore).lte(now_us(backend)))
        .exec(tx)
        .await?;
    Ok(updated.rows_affected == 1)
}

/// The oldest deployment of the same target that has to end before this one may start.
async fn older_open(tx: &impl ConnectionTrait, row: &Model) -> Result<Option<Entry>> {
    let older: Option<(DeploymentId, Trigger)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::TriggerKind])
        .filter(Column::TargetId.eq(row.target_id))
        .filter(Column::Status.is_in([Status::Queued, Status::Running]))
        .filter(Column::Id.lt(row.id))
        .order_by_asc(Column::Id)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(older.map(|(id, trigger)| Entry {
        id,
        target: row.target_id,
        priority: trigger.into(),
    }))
}

/// Whether a deployment of this target runs. It cannot begin while the target's row is locked.
async fn is_running(tx: &impl ConnectionTrait, target: TargetId) -> Result<bool> {
    let running: Option<DeploymentId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::TargetId.eq(target))
        .filter(Column::Status.eq(Status::Running))
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(running.is_some())
}

/// The deployment that this token holds: the answer when a claim's own answer was lost.
///
/// # Errors
/// When the database fails.
pub async fn held_by(conn: &impl ConnectionTrait, token: &LeaseToken) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::LeaseToken.eq(token.as_str()))
        .filter(Column::Status.eq(Status::Running))
        .one(conn)
        .await?)
}

/// A lease that is still ours, and whether somebody wants the deployment to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The deployment.
    pub id: DeploymentId,
    /// Whether a cancel was requested.
    pub cancel: bool,
}

/// Extends leases; those that are not answered are lost.
///
/// # Errors
/// When the database fails; the leases keep the time they had.
pub async fn renew(db: &Db, tokens: &[LeaseToken], lease: Duration) -> Result<Vec<Renewed>> {
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    crate::db::retried(|| extend(db, tokens, lease)).await
}

async fn extend(db: &Db, tokens: &[LeaseToken], lease: Duration) -> Result<Vec<Renewed>> {
    let tokens: Vec<&str> = tokens.iter().map(LeaseToken::as_str).collect();
    Entity::update_many()
        .col_expr(Column::LeaseUntil, after_us(db.backend(), lease))
        .filter(Column::LeaseToken.is_in(tokens.iter().copied()))
        .filter(Column::Status.eq(Status::Running))
        .exec(db.writer())
        .await?;
    let rows: Vec<(DeploymentId, Option<DateTime<Utc>>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::CancelRequestedAt])
        .filter(Column::LeaseToken.is_in(tokens))
        .filter(Column::Status.eq(Status::Running))
        .into_tuple()
        .all(db.writer())
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, cancel)| Renewed {
            id,
            cancel: cancel.is_some(),
        })
        .collect())
}

/// Whether this run is still the current one: asked before the release is switched.
///
/// # Errors
/// When the database fails.
pub async fn is_current(db: &Db, id: DeploymentId, fence: i64) -> Result<bool> {
    let found: Option<DeploymentId> = Entity::find_by_id(id)
        .select_only()
        .column(Column::Id)
        .filter(Column::Fence.eq(fence))
        .filter(Column::Status.eq(Status::Running))
        .into_tuple()
        .one(db.writer())
        .await?;
    Ok(found.is_some())
}

/// Running deployments whose lease has run out, above `after`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn expired(
    conn: &impl ConnectionTrait,
    after: DeploymentId,
    limit: u64,
) -> Result<Vec<Model>> {
    let backend = conn.get_database_backend();
    Ok(Entity::find()
        .filter(Column::Status.eq(Status::Running))
        .filter(Expr::col(Column::LeaseUntil).lt(now_us(backend)))
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// What this worker runs, as far as the database knows, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn owned(conn: &impl ConnectionTrait, owner: &str) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Status.eq(Status::Running))
        .filter(Column::LeaseOwner.eq(owner))
        .order_by_asc(Column::Id)
        .all(conn)
        .await?)
}
