//! The only writer of a deployment's state.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, FromQueryResult,
    QueryFilter as _, QuerySelect as _, UpdateMany, Value,
    sea_query::{Expr, Query, SimpleExpr},
};
use std::time::Duration;

use super::step;
use crate::{
    db::{after_us, now_us},
    deployment::{
        entity::deployment::{ActiveModel, Column, Entity, Model},
        reason::{Code, Reason},
        status::{Status, Transition, next},
    },
    error::{Error, Result},
    notify::outbox::{self, deployment::Happening},
    project::entity as project,
    target::entity as target,
};

/// What else must hold of the row for the write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Only the state.
    State,
    /// The run that the writer is part of is still the current one.
    Fence(i64),
    /// That run is still the current one and its lease has run out.
    ExpiredLease(i64),
    /// That run is still the current one and its lease is this worker's, which is dead.
    Owner(i64, String),
}

/// Moves a deployment along one edge and frees its target when it ends. Must run in a transaction.
/// False when the row was not (any more) as `row` and `guard` say; then nothing was written.
///
/// # Errors
/// When the state machine has no such edge, or the database fails.
pub async fn apply(
    tx: &impl ConnectionTrait,
    row: &Model,
    guard: Guard,
    transition: &Transition,
    now: DateTime<Utc>,
) -> Result<bool> {
    let to = next(row.status, transition)
        .map_err(|illegal| Error::conflict("illegal_transition", illegal.to_string()))?;
    let backend = tx.get_database_backend();
    let mut update = Entity::update_many()
        .col_expr(Column::Status, Expr::value(to))
        .filter(Column::Id.eq(row.id))
        .filter(Column::Status.eq(row.status));
    match guard {
        Guard::State => {}
        Guard::Fence(fence) => update = update.filter(Column::Fence.eq(fence)),
        Guard::ExpiredLease(fence) => {
            update = update
                .filter(Column::Fence.eq(fence))
                .filter(Expr::col(Column::LeaseUntil).lt(now_us(backend)));
        }
        Guard::Owner(fence, owner) => {
            update = update
                .filter(Column::Fence.eq(fence))
                .filter(Column::LeaseOwner.eq(owner));
        }
    }
    update = record(update, transition, backend);
    if row.status == Status::Running {
        update = without_lease(update);
    }
    if to.is_terminal() {
        update = update.col_expr(Column::FinishedAt, Expr::value(now));
    }
    if update.exec(tx).await?.rows_affected == 0 {
        return Ok(false);
    }
    if row.status == Status::Running {
        step::closing(&[(row.id, row.fence)], transition, now)
            .exec(tx)
            .await?;
    }
    if to.is_terminal() {
        free_target(tx, row).await?;
    }
    Ok(true)
}

/// A deployment whose run has ended.
#[derive(Debug, FromQueryResult)]
pub struct Left {
    /// The row as it stands now.
    #[sea_orm(nested)]
    pub row: Model,
    #[sea_orm(nested)]
    heard: Heard,
}

#[derive(Debug, FromQueryResult)]
struct Heard {
    told: i64,
}

/// Ends a run along one edge and answers what follows, or nothing when [`apply`] refuses.
///
/// If it would wait for another run although somebody has asked for it to stop, it is cancelled in
/// the same transaction: no claim would ever take it.
///
/// # Errors
/// When the state machine has no such edge, or the database fails.
pub async fn leave(
    tx: &impl ConnectionTrait,
    row: &Model,
    guard: Guard,
    transition: &Transition,
    now: DateTime<Utc>,
) -> Result<Option<Left>> {
    if !apply(tx, row, guard, transition, now).await? {
        return Ok(None);
    }
    let told = Query::select()
        .column((project::Entity, project::Column::Told))
        .from(project::Entity)
        .and_where(
            Expr::col((project::Entity, project::Column::Id)).equals((Entity, Column::ProjectId)),
        )
        .to_owned();
    let left = Entity::find_by_id(row.id)
        .expr_as(SimpleExpr::SubQuery(None, Box::new(told.into())), "told")
        .into_model::<Left>()
        .one(tx)
        .await?;
    let mut left =
        left.ok_or_else(|| crate::db::broken("a deployment vanished as it was written"))?;
    if left.row.status == Status::Queued && left.row.cancel_requested_at.is_some() {
        let stop = Transition::Cancel {
            by: left.row.cancel_requested_by,
        };
        apply(tx, &left.row, Guard::State, &stop, now).await?;
        left.row.status = Status::Cancelled;
    }
    Ok(Some(left))
}

impl Left {
    /// Writes who is told of it, once everything else is written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(
        &self,
        tx: &impl ConnectionTrait,
        transition: &Transition,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let stopped = Transition::Cancel {
            by: self.row.cancel_requested_by,
        };
        let is_stopped = self.row.status == Status::Cancelled;
        let happened = if is_stopped { &stopped } else { transition };
        let happening = Happening::of(&self.row, happened, now);
        outbox::tell(tx, self.heard.told, happening).await
    }
}

fn record(
    update: UpdateMany<Entity>,
    transition: &Transition,
    backend: sea_orm::DbBackend,
) -> UpdateMany<Entity> {
    let charge_back = Expr::col(Column::Attempt).sub(1);
    match transition {
        Transition::Start | Transition::Approve => update,
        Transition::Succeed => with_reason(update, None),
        Transition::Fail(reason) => with_reason(update, Some(reason)),
        Transition::RetryLater { reason, delay_ms } => with_reason(update, Some(reason)).col_expr(
            Column::NotBefore,
            after_us(backend, Duration::from_millis(*delay_ms)),
        ),
        Transition::Interrupt => update.col_expr(Column::Attempt, charge_back).col_expr(
            Column::Interruptions,
            Expr::col(Column::Interruptions).add(1),
        ),
        Transition::HandBack => update.col_expr(Column::Attempt, charge_back),
        Transition::Cancel { by } => {
            let text = if by.is_some() {
                "Somebody cancelled it."
            } else {
                "It was cancelled."
            };
            with_reason(update, Some(&Reason::new(Code::Cancelled, text)))
        }
        Transition::Reject { by } => with_reason(
            update.col_expr(Column::CancelRequestedBy, Expr::value(*by)),
            Some(&Reason::new(Code::Rejected, "The request was refused.")),
        ),
        Transition::Supersede { by } => with_reason(
            update.col_expr(Column::SupersededBy, Expr::value(*by)),
            Some(&Reason::new(
                Code::Superseded,
                format!("Deployment {by} of the same target took its place."),
            )),
        ),
    }
}

fn with_reason(update: UpdateMany<Entity>, reason: Option<&Reason>) -> UpdateMany<Entity> {
    let code = reason.map(|reason| reason.code.as_str().to_owned());
    let text = reason.map(|reason| reason.text.clone());
    update
        .col_expr(Column::Reason, Expr::value(code))
        .col_expr(Column::ReasonText, Expr::value(text))
}

fn without_lease(update: UpdateMany<Entity>) -> UpdateMany<Entity> {
    update
        .col_expr(Column::LeaseToken, Expr::value(Value::String(None)))
        .col_expr(Column::LeaseOwner, Expr::value(Value::String(None)))
        .col_expr(Column::LeaseUntil, Expr::value(Value::BigInt(None)))
}

/// A target is held from the first claim of a deployment until that deployment ends, waits for
/// another attempt included: otherwise a newer commit would go first and be overwritten later.
async fn free_target(tx: &impl ConnectionTrait, row: &Model) -> Result<()> {
    target::Entity::update_many()
        .col_expr(target::Column::HolderId, Expr::value(Value::BigInt(None)))
        .filter(target::Column::Id.eq(row.target_id))
        .filter(target::Column::HolderId.eq(row.id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Notes that somebody wants a running deployment to stop; its worker does the rest. False when it
/// was not running any more, or somebody had asked before.
///
/// # Errors
/// When the database fails.
pub async fn request_cancel(
    conn: &impl ConnectionTrait,
    row: &Model,
    by: crate::id::UserId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let wanted = ActiveModel {
        cancel_requested_at: sea_orm::ActiveValue::Set(Some(now)),
        cancel_requested_by: sea_orm::ActiveValue::Set(Some(by)),
        ..ActiveModel::default()
    };
    let updated = Entity::update_many()
        .set(wanted)
        .filter(Column::Id.eq(row.id))
        .filter(Column::Status.eq(Status::Running))
        .filter(Column::CancelRequestedAt.is_null())
        .exec(conn)
        .await?;
    Ok(updated.rows_affected == 1)
}
