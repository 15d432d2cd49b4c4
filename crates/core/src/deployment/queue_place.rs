//! What a queued deployment waits for: pure, from the rows of its target's line and what else may
//! stand in its way.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::{entity::deployment::Model, status::Status, store::read::Ahead};
use crate::{lock::covering::Locks, ports::Holder, process::store::Capacity};

/// Why a queued deployment does not run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// A lock covers its target.
    Lock,
    /// Another deployment of the same target runs.
    RunningDeployment,
    /// Another deployment of the same target is queued before it.
    OlderDeployment,
    /// The time of its next attempt.
    BackOff,
    /// As many deployments run everywhere as may.
    Limit,
    /// A worker with a free place.
    Worker,
}

impl WaitingFor {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::RunningDeployment => "running_deployment",
            Self::OlderDeployment => "older_deployment",
            Self::BackOff => "back_off",
            Self::Limit => "limit",
            Self::Worker => "worker",
        }
    }
}

/// A queued deployment's place in its target's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct QueuePlace {
    /// 1 is the next of its target.
    pub position: u64,
    /// Why it does not run yet.
    pub waiting_for: WaitingFor,
    /// The same in a sentence.
    pub waiting_text: String,
}

/// What the places of queued deployments follow from.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// What is before the deployments in question.
    pub ahead: Vec<Ahead>,
    /// The locks that hold now.
    pub locks: Locks,
    /// The time that `not_before` is compared with.
    pub now_us: i64,
    /// How many run everywhere.
    pub running: u64,
    /// Most that may run everywhere.
    pub max_running: u32,
    /// What the workers can do.
    pub capacity: Capacity,
}

/// The place of a deployment; none if it is not queued.
#[must_use]
pub fn place(row: &Model, situation: &Situation) -> Option<QueuePlace> {
    if row.status != Status::Queued {
        return None;
    }
    let ahead = situation.ahead.iter().find(|ahead| ahead.id == row.id);
    let (queued, before, running) = ahead.map_or((0, None, None), |ahead| {
        (ahead.queued.unsigned_abs(), ahead.before, ahead.running)
    });
    let (waiting_for, waiting_text) =
        if let Some(lock) = situation.locks.over(row.project_id, row.target_id) {
            (WaitingFor::Lock, lock.sentence())
        } else if let Some(id) = running {
            let text = format!("Deployment {id} of the same target is running");
            (WaitingFor::RunningDeployment, text)
        } else if let Some(id) = before {
            let text = format!("Deployment {id} of the same target goes first");
            (WaitingFor::OlderDeployment, text)
        } else if row.not_before > situation.now_us {
            (WaitingFor::BackOff, back_off(row.not_before))
        } else {
            situation.place_for_one_more()
        };
    Some(QueuePlace {
        position: queued + 1,
        waiting_for,
        waiting_text,
    })
}

fn back_off(not_before: i64) -> String {
    let due = DateTime::from_timestamp_micros(not_before).unwrap_or_default();
    let due = due.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("The last attempt failed; the next one is due at {due}")
}

/// The place of a deployment that was added to its target's line just now.
///
/// It follows from the place that the index gave it and what it says of the target. Nothing when
/// these do not tell.
#[must_use]
pub fn place_behind(place: u64, holder: Option<Holder>) -> Option<QueuePlace> {
    let (waiting_for, waiting_text) = match holder {
        Some(Holder::Leased(id)) => {
            let text = format!("Deployment {id} of the same target is running");
            (WaitingFor::RunningDeployment, text)
        }
        // One that waits for its next attempt goes first, and is in the line only once it is due.
        Some(Holder::Delayed(_)) => return None,
        None if place > 1 => {
            let text = "An older deployment of the same target goes first".to_owned();
            (WaitingFor::OlderDeployment, text)
        }
        None => return None,
    };
    Some(QueuePlace {
        position: place,
        waiting_for,
        waiting_text,
    })
}

impl Situation {
    /// Whether anything in it depends on how many run, and on the workers.
    #[must_use]
    pub fn is_anybody_next(&self) -> bool {
        let is_next = |ahead: &Ahead| ahead.before.is_none() && ahead.running.is_none();
        self.ahead.iter().any(is_next)
    }

    /// What the next deployment of a free target waits for.
    fn place_for_one_more(&self) -> (WaitingFor, String) {
        let Capacity { workers, places } = self.capacity;
        if self.running >= u64::from(self.max_running) {
            let text = format!(
                "As many deployments are running as may at once: {}",
                self.max_running
            );
            return (WaitingFor::Limit, text);
        }
        let text = if workers == 0 {
            "No worker is running".to_owned()
        } else if self.running >= places {
            format!("All {places} places of the workers are taken")
        } else {
            "A worker takes it next".to_owned()
        };
        (WaitingFor::Worker, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeploymentId;

    fn next(running: u64, max_running: u32, (workers, places): (u64, u64)) -> String {
        let situation = Situation {
            running,
            max_running,
            capacity: Capacity { workers, places },
            ..Situation::default()
        };
        let (code, text) = situation.place_for_one_more();
        format!("{}: {text}", code.as_str())
    }

    #[test]
    fn the_next_of_a_free_target_waits_for_the_limit_or_a_worker() {
        assert_eq!(
            [
                next(5, 5, (2, 10)),
                next(0, 5, (0, 0)),
                next(10, 100, (2, 10)),
                next(9, 100, (2, 10)),
            ],
            [
                "limit: As many deployments are running as may at once: 5",
                "worker: No worker is running",
                "worker: All 10 places of the workers are taken",
                "worker: A worker takes it next",
            ]
        );
    }

    #[test]
    fn a_new_one_waits_for_what_holds_its_target_or_stands_before_it() {
        let behind = |line, holder| {
            place_behind(line, holder).map(|place| (place.position, place.waiting_for))
        };
        let (running, older) = (WaitingFor::RunningDeployment, WaitingFor::OlderDeployment);
        let leased = Some(Holder::Leased(DeploymentId(7)));
        let delayed = Some(Holder::Delayed(DeploymentId(7)));
        assert_eq!(behind(1, leased), Some((1, running)));
        assert_eq!(behind(3, leased), Some((3, running)));
        assert_eq!(behind(1, delayed), None);
        assert_eq!(behind(2, delayed), None);
        assert_eq!(behind(1, None), None);
        assert_eq!(behind(2, None), Some((2, older)));
    }

    #[test]
    fn a_back_off_says_until_when() {
        assert_eq!(
            back_off(61_000_000),
            "The last attempt failed; the next one is due at 1970-01-01T00:01:01Z"
        );
    }
}
