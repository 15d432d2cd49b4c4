//! The state machine of a deployment: seven states, one pure function that knows every edge.
//!
//! Only `store::apply` writes a state, and only along these edges.

use crate::word::words;

use super::reason::Reason;
use crate::id::{DeploymentId, UserId};

words! {
    /// Where a deployment stands.
    Status {
        /// Waits until somebody else agrees.
        AwaitingApproval = "awaiting_approval",
        /// Waits for its turn, for its time, or for a worker.
        Queued = "queued",
        /// A worker has it.
        Running = "running",
        /// It is live.
        Succeeded = "succeeded",
        /// It did not work, and will not be tried again.
        Failed = "failed",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// A newer one took its place while it waited.
        Superseded = "superseded",
    }
}

impl Status {
    /// States that a deployment may still leave.
    pub const OPEN: [Self; 3] = [Self::AwaitingApproval, Self::Queued, Self::Running];

    /// Whether it never changes again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !Self::OPEN.contains(&self)
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
