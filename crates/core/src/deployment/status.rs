//! The state machine of a deployment: seven states, one pure function that knows every edge.
//!
//! Only `store::apply` writes a state, and only along these edges.

use std::fmt;

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

use super::reason::Reason;
use crate::id::{DeploymentId, UserId};

/// Where a deployment stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    EnumIter,
    DeriveActiveEnum,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(sea_orm::prelude::StringLen::N(24))",
    rename_all = "snake_case"
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits until somebody else agrees.
    AwaitingApproval,
    /// Waits for its turn, for its time, or for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It is live.
    Succeeded,
    /// It did not work, and will not be tried again.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// A newer one took its place while it waited.
    Superseded,
}

impl Status {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::AwaitingApproval,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// States that a deployment may still leave.
    pub const OPEN: [Self; 3] = [Self::AwaitingApproval, Self::Queued, Self::Running];

    /// Whether it never changes again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !Self::OPEN.contains(&self)
    }

    /// The state's name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Reads a state's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happens to a deployment, with what has to be recorded about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Somebody else agreed to it.
    Approve,
    /// Somebody else refused it.
    Reject {
        /// Who.
        by: UserId,
    },
    /// A worker claimed it. The claim itself writes lease and fence.
    Start,
    /// Every step worked.
    Succeed,
    /// It failed for good.
    Fail(Reason),
    /// A run failed and another attempt follows after a wait.
    RetryLater {
        /// Why the run failed.
        reason: Reason,
        /// How long to wait, in milliseconds.
        delay_ms: u64,
    },
    /// The worker was lost; the run is not charged.
    Interrupt,
    /// The worker gives it back unharmed while it stops; nothing is charged.
    HandBack,
    /// Somebody stopped it.
    Cancel {
        /// Who, unless nobody is known any more.
        by: Option<UserId>,
    },
    /// A newer deployment of the same target took its place.
    Supersede {
        /// The newer one.
        by: DeploymentId,
    },
}

impl Transition {
    /// The transition's name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject { .. } => "reject",
            Self::Start => "start",
            Self::Succeed => "succeed",
            Self::Fail(_) => "fail",
            Self::RetryLater { .. } => "retry_later",
            Self::Interrupt => "interrupt",
            Self::HandBack => "hand_back",
            Self::Cancel { .. } => "cancel",
            Self::Supersede { .. } => "supersede",
        }
    }
}

/// A transition that the state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deployment that is {from} cannot {transition}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub from: Status,
    /// What was to happen.
    pub transition: &'static str,
}

/// The state that follows.
///
/// # Errors
/// When the state does not allow the transition.
pub fn next(from: Status, transition: &Transition) -> Result<Status, IllegalTransition> {
    use Transition as T;
    match (from, transition) {
        (Status::AwaitingApproval, T::Approve)
        | (Status::Running, T::RetryLater { .. } | T::Interrupt | T::HandBack) => {
            Ok(Status::Queued)
        }
        (Status::Queued, T::Start) => Ok(Status::Running),
        (Status::Running, T::Succeed) => Ok(Status::Succeeded),
        (Status::Running, T::Fail(_)) => Ok(Status::Failed),
        (Status::AwaitingApproval, T::Reject { .. })
        | (Status::AwaitingApproval | Status::Queued | Status::Running, T::Cancel { .. }) => {
            Ok(Status::Cancelled)
        }
        (Status::AwaitingApproval | Status::Queued, T::Supersede { .. }) => Ok(Status::Superseded),
        (
            Status::AwaitingApproval,
            T::Start | T::Succeed | T::Fail(_) | T::RetryLater { .. } | T::Interrupt | T::HandBack,
        )
        | (
            Status::Queued,
            T::Approve
            | T::Reject { .. }
            | T::Succeed
            | T::Fail(_)
            | T::RetryLater { .. }
            | T::Interrupt
            | T::HandBack,
        )
        | (Status::Running, T::Approve | T::Reject { .. } | T::Start | T::Supersede { .. })
        | (
            Status::Succeeded | Status::Failed | Status::Cancelled | Status::Superseded,
            T::Approve
            | T::Reject { .. }
            | T::Start
            | T::Succeed
            | T::Fail(_)
            | T::RetryLater { .. }
            | T::Interrupt
            | T::HandBack
            | T::Cancel { .. }
            | T::Supersede { .. },
        ) => Err(IllegalTransition {
            from,
            transition: transition.as_str(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transitions() -> Vec<Transition> {
        let reason = || Reason::new(super::super::reason::Code::StepFailed, "step build failed");
        vec![
            Transition::Approve,
            Transition::Reject { by: UserId(1) },
            Transition::Start,
            Transition::Succeed,
            Transition::Fail(reason()),
            Transition::RetryLater {
                reason: reason(),
                delay_ms: 1000,
            },
            Transition::Interrupt,
            Transition::HandBack,
            Transition::Cancel { by: None },
            Transition::Supersede {
                by: DeploymentId(2),
            },
        ]
    }

    #[test]
    fn the_whole_table_is_as_drawn() {
        let mut table = String::new();
        for from in Status::ALL {
            for transition in transitions() {
                if let Ok(to) = next(from, &transition) {
                    table.push_str(&format!("{from} --{}--> {to}\n", transition.as_str()));
                }
            }
        }
        insta::assert_snapshot!(table, @r"
        awaiting_approval --approve--> queued
        awaiting_approval --reject--> cancelled
        awaiting_approval --cancel--> cancelled
        awaiting_approval --supersede--> superseded
        queued --start--> running
        queued --cancel--> cancelled
        queued --supersede--> superseded
        running --succeed--> succeeded
        running --fail--> failed
        running --retry_later--> queued
        running --interrupt--> queued
        running --hand_back--> queued
        running --cancel--> cancelled
        ");
        let map = include_str!("../../../../ARCHITECTURE.md");
        for edge in table.lines() {
            assert!(map.contains(edge), "ARCHITECTURE.md lacks the edge: {edge}");
        }
    }

    #[test]
    fn terminal_states_never_change() {
        for from in Status::ALL
            .into_iter()
            .filter(|status| status.is_terminal())
        {
            for transition in transitions() {
                assert!(
                    next(from, &transition).is_err(),
                    "{from} {}",
                    transition.as_str()
                );
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.as_str()), Some(status));
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("\"{status}\""));
        }
    }
}
