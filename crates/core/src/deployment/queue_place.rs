//! What a queued deployment waits for: pure, from the rows of its target's line.

use serde::Serialize;

use super::{entity::deployment::Model, status::Status, store::read::InLine};

/// Why a queued deployment does not run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// Another deployment of the same target runs.
    RunningDeployment,
    /// Another deployment of the same target is queued before it.
    OlderDeployment,
    /// The time of its next attempt.
    BackOff,
    /// A worker with a free place.
    Worker,
}

impl WaitingFor {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunningDeployment => "running_deployment",
            Self::OlderDeployment => "older_deployment",
            Self::BackOff => "back_off",
            Self::Worker => "worker",
        }
    }
}

/// A queued deployment's place in its target's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct QueuePlace {
    /// 1 is the next of its target.
    pub position: u64,
    /// Why it does not run yet.
    pub waiting_for: WaitingFor,
}

/// The place of a deployment; none if it is not queued. `lines` is in the order of the queue and
/// may hold other targets too; `now_us` is the time that `not_before` is compared with.
#[must_use]
pub fn place(row: &Model, lines: &[InLine], now_us: i64) -> Option<QueuePlace> {
    if row.status != Status::Queued {
        return None;
    }
    let line = || {
        lines
            .iter()
            .filter(|other| other.target_id == row.target_id)
    };
    let ahead = line()
        .filter(|other| other.status == Status::Queued && other.id < row.id)
        .count() as u64;
    let waiting_for = if line().any(|other| other.status == Status::Running) {
        WaitingFor::RunningDeployment
    } else if ahead > 0 {
        WaitingFor::OlderDeployment
    } else if row.not_before > now_us {
        WaitingFor::BackOff
    } else {
        WaitingFor::Worker
    };
    Some(QueuePlace {
        position: ahead + 1,
        waiting_for,
    })
}
