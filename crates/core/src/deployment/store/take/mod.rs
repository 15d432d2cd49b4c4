//! The transaction of a claim: a target's slot, a place in its line, and the row itself, for many
//! deployments of different targets at once.

mod begin;
mod look;

use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, EntityTrait as _, QuerySelect as _, Statement};

use super::claim::{Claim, Planner, Taken, Wanted, claim, standing};
use crate::{
    db::{self, Bundle, Db, Done, padded},
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::{Status, Transition},
        trigger::Trigger,
    },
    error::Result,
    fail,
    id::{DeploymentId, TargetId},
    lock,
    notify::outbox::{self, deployment::Happening},
    ports::Entry,
};
use begin::{Runs, Start};
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
    planner: Planner<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Taken>> {
    if let Some(taken) = db::retried(|| take(db, wanted, planner, now)).await? {
        return Ok(taken);
    }
    let mut all = Vec::with_capacity(wanted.len());
    for one in wanted {
        let alone = std::slice::from_ref(one);
        let taken = db::retried(|| take(db, alone, planner, now)).await?;
        all.extend(taken.unwrap_or_else(|| vec![Claim::Raced.into()]));
    }
    Ok(all)
}

/// Nothing, and nothing written, when one of them changed between looking and writing.
async fn take(
    db: &Db,
    wanted: &[Wanted<'_>],
    planner: Planner<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Taken>>> {
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
    let mut started = Vec::new();
    if starting.is_empty() {
        tx.roll_back().await;
    } else {
        let runs = Runs::new(&starting, &seen, planner, now);
        let told = told(&starting, now);
        if !told.is_empty() {
            let also = tx.also(|tx| async move { outbox::note(&tx, &told).await });
            tx = also.await?.0;
        }
        fail::point("claim.before_commit");
        let beginning = runs.beginning(db.backend(), &starting, now)?;
        let begun = tx.finish(&beginning).await?;
        fail::point("claim.after_commit");
        let Some(done) = begun else {
            return Ok(None);
        };
        started = runs.taken(done)?;
    }
    let mut started = started.into_iter();
    let mut taken = Vec::with_capacity(wanted.len());
    for (one, refusal) in wanted.iter().zip(refused) {
        let claim = match refusal {
            None => {
                taken.push(started.next().unwrap_or_else(|| Claim::Raced.into()));
                continue;
            }
            Some(Refusal::Claim(claim)) => claim,
            Some(Refusal::Behind(older)) => behind(db, older, one.target).await?,
            Some(Refusal::Elsewhere) => Box::pin(claim(db, one.id, &one.by, now)).await?,
        };
        taken.push(claim.into());
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
            row: it.row_after(now),
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
