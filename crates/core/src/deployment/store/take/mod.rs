//! The transaction of a claim: a target's slot, a place in its line, and the row itself, for many
//! deployments of different targets at once.

mod look;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, DbBackend, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QuerySelect as _, QueryTrait as _, Statement,
    sea_query::{CaseStatement, Expr, SimpleExpr},
};

use super::claim::{Claim, Claimant, Taken, Wanted, claim, standing};
use crate::{
    db::{self, Bundle, Db, Done, now_us, padded},
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::{Status, Transition, next},
        trigger::Trigger,
    },
    error::Result,
    fail,
    id::{DeploymentId, TargetId},
    lock,
    notify::outbox::{self, deployment::Happening},
    ports::Entry,
    target::entity as target,
};
use look::{Seen, Slot, count, look};

/// Claims that may be under way at once in all processes together.
const AT_ONCE: u64 = 512;

/// Claims what may run; in order.
///
/// # Errors
/// When the database fails. The outcome is unknown then.
pub(super) async fn take_all(
    db: &Db,
    wanted: &[Wanted<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<Taken>> {
    if let Some(taken) = db::retried(|| take(db, wanted, now)).await? {
        return Ok(taken);
    }
    let mut all = Vec::with_capacity(wanted.len());
    for one in wanted {
        let alone = std::slice::from_ref(one);
        let taken = db::retried(|| take(db, alone, now)).await?;
        all.extend(taken.unwrap_or_else(|| vec![(Claim::Raced, None)]));
    }
    Ok(all)
}

/// A deployment that starts.
#[derive(Clone, Copy)]
struct Start<'a> {
    row: &'a Model,
    by: &'a Claimant<'a>,
    fence: i64,
    lease_until: i64,
    told: i64,
}

/// Nothing, and nothing written, when one of them changed between looking and writing.
async fn take(db: &Db, wanted: &[Wanted<'_>], now: DateTime<Utc>) -> Result<Option<Vec<Taken>>> {
    let targets: Vec<TargetId> = padded(wanted.iter().map(|it| it.target).collect());
    let ids: Vec<DeploymentId> = padded(wanted.iter().map(|it| it.id).collect());
    let (mut tx, mut seen) = db.begin_at_once(|tx| look(tx, targets, ids)).await?;
    let limit = wanted.first().map_or(0, |it| it.by.max_running);
    if seen.running + AT_ONCE >= u64::from(limit) {
        let Some((again, exactly)) = tx.then(&counted(db.backend())).await? else {
            return Err(db::broken("the second row of queue_gate is missing"));
        };
        tx = again;
        seen.running = running(&exactly)?;
        seen.room = u64::from(limit).saturating_sub(seen.running);
    }
    let (refused, starting) = judge(wanted, &seen);
    if starting.is_empty() {
        tx.roll_back().await;
    } else {
        let told = told(&starting, now);
        if !told.is_empty() {
            let also = tx.also(|tx| async move { outbox::note(&tx, &told).await });
            tx = also.await?.0;
        }
        fail::point("claim.before_commit");
        let begun = tx.finish(&beginning(db.backend(), &starting, now)?).await?;
        fail::point("claim.after_commit");
        if begun.is_none() {
            return Ok(None);
        }
    }
    let mut started = starting
        .iter()
        .map(|it| (Claim::Won(it.row_after(now)), seen.brief(it.row)));
    let mut taken = Vec::with_capacity(wanted.len());
    for (one, refusal) in wanted.iter().zip(refused) {
        let claim = match refusal {
            None => {
                taken.push(started.next().unwrap_or((Claim::Raced, None)));
                continue;
            }
            Some(Refusal::Claim(claim)) => claim,
            Some(Refusal::Behind(older)) => behind(db, older, one.target).await?,
            Some(Refusal::Elsewhere) => Box::pin(claim(db, one.id, &one.by, now)).await?,
        };
        taken.push((claim, None));
    }
    Ok(Some(taken))
}

/// Why a deployment may not start.
enum Refusal {
    Claim(Claim),
    /// An older one of its target goes first.
    Behind(DeploymentId),
    /// It is not of the target that was held for it.
    Elsewhere,
}

/// Why each may not start, if it may not, and those that may, in the same order.
fn judge<'a>(wanted: &'a [Wanted<'a>], seen: &'a Seen) -> (Vec<Option<Refusal>>, Vec<Start<'a>>) {
    let mut refused = Vec::with_capacity(wanted.len());
    let mut starting: Vec<Start<'a>> = Vec::new();
    for Wanted { id, target, by } in wanted {
        let row = seen.rows.iter().find(|row| row.id == *id);
        let Some(row) = row else {
            refused.push(Some(Refusal::Claim(Claim::Ended)));
            continue;
        };
        if row.target_id != *target {
            refused.push(Some(Refusal::Elsewhere));
            continue;
        }
        let slot = seen.slots.get(target);
        // The index gives one of a target at a time; two here are left of a fault.
        let is_second = starting.iter().any(|it| it.row.target_id == *target);
        let standing = || standing(row, seen.now_us).map(Refusal::Claim);
        let refusal = match slot {
            None => Some(Refusal::Claim(Claim::Ended)),
            Some(slot) => standing().or_else(|| {
                let raced = is_second.then_some(Refusal::Claim(Claim::Raced));
                raced.or_else(|| refusal(slot, row))
            }),
        };
        let locked = || lock::store::longest(&seen.locks, row.project_id, row.target_id);
        let refusal = refusal.or_else(|| locked().map(Claim::Locked).map(Refusal::Claim));
        let is_full = starting.len() as u64 >= seen.room;
        let refusal = refusal.or_else(|| is_full.then_some(Refusal::Claim(Claim::Raced)));
        if let (None, Some(slot)) = (&refusal, slot) {
            starting.push(Start {
                row,
                by,
                fence: slot.target.epoch + 1,
                lease_until: seen.now_us + db::micros(by.lease),
                told: seen.project(row).map_or(0, |project| project.told),
            });
        }
        refused.push(refusal);
    }
    (refused, starting)
}

/// Counts what runs everywhere. The index counts too, but it may have lost its data a moment ago;
/// near the limit the gate makes those that start wait for each other.
fn counted(backend: DbBackend) -> Bundle {
    let sql = "UPDATE queue_gate SET admitted = admitted + 1 WHERE id = 2";
    Bundle::default()
        .write_exactly(1, Statement::from_string(backend, sql))
        .read(backend.build(&count(Status::Running)))
}

fn running(counted: &[Done]) -> Result<u64> {
    let row = counted.last().and_then(|done| done.rows.first());
    let row = row.ok_or_else(|| db::broken("the database counts nothing"))?;
    let running: i64 = row.try_get_by_index(0)?;
    Ok(u64::try_from(running).unwrap_or_default())
}

/// What of these anybody may be told of.
fn told(starting: &[Start<'_>], now: DateTime<Utc>) -> Vec<Happening> {
    let heard = starting.iter().filter_map(|it| {
        let happening = Happening::of(it.row, &Transition::Start, now)?;
        outbox::is_heard(it.told, &happening).then(|| Happening {
            row: *it.row_after(now),
            ..happening
        })
    });
    heard.collect()
}

/// Why this deployment may not run next on its target, if it may not.
fn refusal(slot: &Slot, row: &Model) -> Option<Refusal> {
    let ahead = [slot.queued, slot.running];
    if let Some(older) = ahead.into_iter().flatten().filter(|id| *id < row.id).min() {
        return Some(Refusal::Behind(older));
    }
    // A newer holder that waits for its next attempt steps back: an older one may have been
    // approved meanwhile.
    let is_taken =
        slot.running.is_some() || slot.target.holder_id.is_some_and(|holder| holder < row.id);
    is_taken.then_some(Refusal::Claim(Claim::Raced))
}

/// The older deployment as the index has to know it; asked for once nothing is held any more.
async fn behind(db: &Db, id: DeploymentId, target: TargetId) -> Result<Claim> {
    let trigger: Option<Trigger> = Entity::find_by_id(id)
        .select_only()
        .column(Column::TriggerKind)
        .into_tuple()
        .one(db.reader())
        .await?;
    let older = trigger.map(|trigger| Entry {
        id,
        target,
        priority: trigger.into(),
    });
    Ok(older.map_or(Claim::Raced, Claim::Behind))
}

/// Takes the slots and writes that these run; nothing when one of the rows is not as it was read.
fn beginning(backend: DbBackend, starting: &[Start<'_>], now: DateTime<Utc>) -> Result<Bundle> {
    let Some(Start {
        by, lease_until, ..
    }) = starting.first()
    else {
        return Ok(Bundle::default());
    };
    let to = next(Status::Queued, &Transition::Start)
        .map_err(|illegal| db::broken(illegal.to_string()))?;
    let padding: Vec<Start<'_>> = padded(starting.to_vec());
    let rows = || padding.iter();
    let by_id = |value: fn(&Start<'_>) -> sea_orm::Value| -> SimpleExpr {
        let cases = rows().fold(CaseStatement::new(), |case, it| {
            case.case(Column::Id.eq(it.row.id), Expr::value(value(it)))
        });
        cases.into()
    };
    let holder = rows().fold(CaseStatement::new(), |case, it| {
        case.case(
            target::Column::Id.eq(it.row.target_id),
            Expr::value(it.row.id),
        )
    });
    let taken = target::Entity::update_many()
        .col_expr(
            target::Column::Epoch,
            Expr::col(target::Column::Epoch).add(1),
        )
        .col_expr(target::Column::HolderId, holder.into())
        .filter(target::Column::Id.is_in(rows().map(|it| it.row.target_id)));
    let begun = Entity::update_many()
        .col_expr(Column::Status, Expr::value(to))
        .col_expr(Column::Attempt, Expr::col(Column::Attempt).add(1))
        .col_expr(Column::Fence, by_id(|it| it.fence.into()))
        .col_expr(Column::LeaseToken, by_id(|it| it.by.token.as_str().into()))
        .col_expr(Column::LeaseOwner, Expr::value(by.owner))
        .col_expr(Column::LeaseUntil, Expr::value(*lease_until))
        .col_expr(
            Column::StartedAt,
            Expr::col(Column::StartedAt).if_null(Expr::value(now)),
        )
        .filter(Column::Id.is_in(rows().map(|it| it.row.id)))
        .filter(Column::Status.eq(Status::Queued))
        .filter(Column::CancelRequestedAt.is_null())
        .filter(Expr::col(Column::NotBefore).lte(now_us(backend)));
    Ok(Bundle::default()
        .write(taken.build(backend))
        .write_exactly(starting.len() as u64, begun.build(backend)))
}

impl Start<'_> {
    /// The row as it stands after the claim, which saves reading it again.
    fn row_after(&self, now: DateTime<Utc>) -> Box<Model> {
        let row = self.row.clone();
        Box::new(Model {
            status: Status::Running,
            attempt: row.attempt + 1,
            fence: self.fence,
            lease_token: Some(self.by.token.as_str().to_owned()),
            lease_owner: Some(self.by.owner.to_owned()),
            lease_until: Some(self.lease_until),
            started_at: Some(row.started_at.unwrap_or(now)),
            ..row
        })
    }
}
