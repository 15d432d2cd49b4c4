//! What happens to deployments, as events that are told.
//!
//! A superseded deployment is silent: the one that took its place is told. The first success after a
//! failure is told as `recovered` where that is wanted, and as `succeeded` elsewhere; so a channel
//! gets one message for one change of state.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::{
    audience,
    compose::{Item, random_key},
    facts::{self, Names},
};
use crate::{
    db::distinct,
    deployment::{
        entity::deployment::Model,
        reason::{Code, Reason},
        status::{Status, Transition},
        trigger::Trigger,
    },
    error::Result,
    id::UserId,
    notify::{
        event::Event,
        notice::{Failure, Notice},
        subscription::filter::{Occasion, bits},
    },
};

/// A change of state, right after it or right before it is written in the same transaction.
#[derive(Clone, Debug)]
pub struct Happening {
    /// The deployment, as it is afterwards as far as it is known.
    pub row: Model,
    /// What it may be told as, the most telling first.
    pub events: Vec<Event>,
    /// Why it did not work.
    pub reason: Option<Reason>,
    /// Who did it, if somebody did.
    pub by: Option<UserId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Every event that a change of state may be told as.
#[must_use]
pub fn mask(events: &[Event]) -> i64 {
    bits(events.iter().copied())
}

/// What the beginning of a run may be told as: only the first one is.
pub const STARTED: [Event; 1] = [Event::Started];

/// What a success may be told as.
pub const SUCCEEDED: [Event; 3] = [Event::RolledBack, Event::Recovered, Event::Succeeded];

/// What an accepted request may be told as.
#[must_use]
pub fn requested(status: Status) -> [Event; 1] {
    if status == Status::AwaitingApproval {
        [Event::AwaitingApproval]
    } else {
        [Event::Requested]
    }
}

impl Happening {
    /// What follows from a change of state, if anybody may be told of it. `row` is as it was before.
    #[must_use]
    pub fn of(row: &Model, transition: &Transition, at: DateTime<Utc>) -> Option<Self> {
        let (events, reason, by) = match transition {
            Transition::Start if row.started_at.is_none() => (STARTED.to_vec(), None, None),
            Transition::Succeed => (SUCCEEDED.to_vec(), None, None),
            Transition::Fail(reason) => (failed_as(reason).to_vec(), Some(reason.clone()), None),
            Transition::Cancel { by } => (vec![Event::Cancelled], None, *by),
            Transition::Reject { by } => {
                let reason = Reason::new(Code::Rejected, "The request was refused.");
                (vec![Event::Cancelled], Some(reason), Some(*by))
            }
            Transition::Start
            | Transition::Approve
            | Transition::RetryLater { .. }
            | Transition::Interrupt
            | Transition::HandBack
            | Transition::Supersede { .. } => return None,
        };
        let mut row = row.clone();
        if transition != &Transition::Start {
            row.finished_at = Some(at);
        }
        Some(Self {
            row,
            events,
            reason,
            by,
            at,
        })
    }

    /// A request that was accepted.
    #[must_use]
    pub fn requested(row: &Model) -> Self {
        Self {
            events: requested(row.status).to_vec(),
            reason: None,
            by: row.requested_by,
            at: row.created_at,
            row: row.clone(),
        }
    }
}

/// A failure after the switch may have put the release before back; a channel that is told of failures
/// learns that from the sentence.
fn failed_as(reason: &Reason) -> &'static [Event] {
    if reason.code == Code::TargetUnusable {
        &[Event::TargetUnreachable, Event::Failed, Event::RolledBack]
    } else {
        &[Event::Failed, Event::RolledBack]
    }
}

/// What is to be written of these; asks for little when nobody listens.
///
/// # Errors
/// When the database fails.
pub async fn items(conn: &impl ConnectionTrait, happenings: &[Happening]) -> Result<Vec<Item>> {
    let projects = distinct(happenings.iter().map(|it| it.row.project_id));
    let audience = audience::of(conn, Some(&projects)).await?;
    if audience.is_empty() {
        return Ok(Vec::new());
    }
    let mut told = Vec::new();
    for happening in happenings {
        let events = narrowed(conn, happening).await?;
        let row = &happening.row;
        let occasion = Occasion {
            event: Event::Test,
            target: Some(row.target_id),
            branch: row.ref_name.as_deref(),
            is_deployment: true,
            at: happening.at,
        };
        let channels = audience.told(Some(row.project_id), &events, &occasion);
        if !channels.is_empty() {
            told.push((happening, channels));
        }
    }
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<&Model> = told.iter().map(|(it, _)| &it.row).collect();
    let people = told.iter().filter_map(|(it, _)| it.by);
    let names = facts::names(conn, &rows, people).await?;
    let mut items = Vec::new();
    for (happening, channels) in told {
        let failure = match &happening.reason {
            Some(reason) => Some(facts::failure(conn, &happening.row, reason).await?),
            None => None,
        };
        let fold = match &failure {
            Some(failure) => Some(fold(conn, &happening.row, failure).await?),
            None => None,
        };
        for (event, channels) in channels {
            items.push(Item {
                uid: random_key()?,
                project: Some(happening.row.project_id),
                target: Some(happening.row.target_id),
                deployment: Some(happening.row.id),
                notice: notice(event, happening, &names, failure.clone()),
                channels,
                fold: fold.clone().map(|fold| format!("{event}:{fold}")),
            });
        }
    }
    Ok(items)
}

/// Leaves out what a change of state turns out not to be.
async fn narrowed(conn: &impl ConnectionTrait, it: &Happening) -> Result<Vec<Event>> {
    let mut events = it.events.clone();
    if events.contains(&Event::Succeeded) {
        let is_rollback = it.row.trigger_kind == Trigger::Rollback;
        let before = facts::ended_before(conn, &it.row).await?;
        let is_recovery = before == Some(Status::Failed);
        events.retain(|event| *event != Event::RolledBack || is_rollback);
        events.retain(|event| *event != Event::Recovered || is_recovery);
    }
    if events.contains(&Event::Failed) && events.contains(&Event::RolledBack) {
        let was_taken_back = facts::was_taken_back(conn, &it.row).await?;
        events.retain(|event| *event != Event::RolledBack || was_taken_back);
    }
    Ok(events)
}

/// What repetitions of a failure have in common: a success in between makes it another one.
async fn fold(conn: &impl ConnectionTrait, row: &Model, failure: &Failure) -> Result<String> {
    let since = facts::last_success(conn, row.target_id).await?;
    let step = failure.step.as_deref().unwrap_or_default();
    let target = row.target_id;
    Ok(format!("{target}:{}:{since}:{step}", failure.code))
}

fn notice(event: Event, it: &Happening, names: &Names, failure: Option<Failure>) -> Notice {
    let row = &it.row;
    Notice {
        event,
        at: it.at,
        project: names.project(row.project_id),
        target: names.target(row.target_id),
        actor: it.by.and_then(|by| names.person(by)),
        text: None,
        deployment: Some(facts::of(row, names)),
        failure,
        url: None,
        folded: 0,
    }
}
