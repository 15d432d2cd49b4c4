//! Taking a queued deployment, keeping it, and noticing that it was lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, Query},
};

use super::{step::Plan, take::take_all};
use crate::{
    db::{Db, after_us, now_us},
    deployment::{
        brief::{Brief, Known},
        entity::deployment::{Column, Entity, Model},
        status::Status,
    },
    error::Result,
    id::{DeploymentId, TargetId},
    ports::{Entry, LeaseToken},
};

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
    let target: Option<TargetId> = Entity::find_by_id(id)
        .select_only()
        .column(Column::TargetId)
        .into_tuple()
        .one(db.reader())
        .await?;
    let Some(target) = target else {
        return Ok(Claim::Ended);
    };
    let by = by.clone();
    let wanted = [Wanted { id, target, by }];
    let taken = claim_all(db, &wanted, &|_, _| None, now).await?;
    let claim = taken.into_iter().next().map(|taken| taken.claim);
    Ok(claim.unwrap_or(Claim::Raced))
}

/// A deployment that the index gave out, and who wants it.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The deployment.
    pub id: DeploymentId,
    /// Its target, as far as the index knows.
    pub target: TargetId,
    /// Who wants it.
    pub by: Claimant<'a>,
}

/// What became of a claim, and what is known of its run by that.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What became of it.
    pub claim: Claim,
    /// What was seen and written on the way.
    pub known: Known,
}

impl From<Claim> for Taken {
    fn from(claim: Claim) -> Self {
        let known = Known::default();
        Self { claim, known }
    }
}

/// Tells what a run is going to do from its deployment as it stands once it is claimed: that is
/// written down with the claim then. Without an answer the run does it.
pub type Planner<'a> = &'a (dyn Fn(&Model, &Brief) -> Option<Plan> + Sync);

/// The same for many deployments and one worker, in order.
///
/// # Errors
/// When the database fails. The outcomes are unknown then; [`held_by`] tells.
pub async fn claim_all(
    db: &Db,
    wanted: &[Wanted<'_>],
    planner: Planner<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Taken>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    take_all(db, wanted, planner, now).await
}

/// Why a deployment cannot be claimed whatever its target does, if it cannot.
pub(super) fn standing(row: &Model, now_us: i64) -> Option<Claim> {
    match row.status {
        Status::Queued => {
            let wait = u64::try_from(row.not_before - now_us).ok();
            let wait = wait.filter(|micros| *micros > 0);
            wait.map(|micros| Claim::NotYet(Duration::from_micros(micros)))
        }
        Status::Running => {
            let left = row.lease_until.unwrap_or_default() - now_us;
            let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
            let token = row.lease_token.clone().map(LeaseToken::from_stored);
            Some(token.map_or(Claim::Raced, |token| Claim::Held(token, left)))
        }
        Status::AwaitingApproval
        | Status::Succeeded
        | Status::Failed
        | Status::Cancelled
        | Status::Superseded => Some(Claim::Ended),
    }
}

/// The deployment, if this token holds it: the answer when a claim's own answer was lost.
///
/// # Errors
/// When the database fails.
pub async fn held_by(
    conn: &impl ConnectionTrait,
    id: DeploymentId,
    token: &LeaseToken,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id)
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
pub async fn renew(
    db: &Db,
    leases: &[(DeploymentId, LeaseToken)],
    lease: Duration,
) -> Result<Vec<Renewed>> {
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    crate::db::retried(|| extend(db, leases, lease)).await
}

async fn extend(
    db: &Db,
    leases: &[(DeploymentId, LeaseToken)],
    lease: Duration,
) -> Result<Vec<Renewed>> {
    let ids: Vec<DeploymentId> = leases.iter().map(|(id, _)| *id).collect();
    let tokens: Vec<&str> = leases.iter().map(|(_, token)| token.as_str()).collect();
    Entity::update_many()
        .col_expr(Column::LeaseUntil, after_us(db.backend(), lease))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::LeaseToken.is_in(tokens.iter().copied()))
        .filter(Column::Status.eq(Status::Running))
        .exec(db.writer())
        .await?;
    let rows: Vec<(DeploymentId, Option<DateTime<Utc>>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::CancelRequestedAt])
        .filter(Column::Id.is_in(ids))
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
