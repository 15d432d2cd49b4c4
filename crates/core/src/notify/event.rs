//! The things that people can be told of.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What happened. The names are stored and sent, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody or something asked for a deployment.
    Requested,
    /// A deployment waits for somebody's approval.
    AwaitingApproval,
    /// A deployment began to run.
    Started,
    /// A deployment succeeded.
    Succeeded,
    /// A deployment failed for good.
    Failed,
    /// A deployment was cancelled.
    Cancelled,
    /// A release was taken back to an earlier one.
    RolledBack,
    /// The first success on a target after a failure.
    Recovered,
    /// A deployment has waited longer than it should.
    Stuck,
    /// A target could not be reached.
    TargetUnreachable,
    /// Nothing starts on a target, a project or anywhere until the lock is lifted.
    Locked,
    /// A lock was lifted or ran out.
    Unlocked,
    /// The key that encrypts secrets has been in use for long.
    KeyRotationDue,
    /// Somebody tries a channel.
    Test,
}

/// How an event should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// Somebody should look at it.
    Warning,
    /// It is good to know.
    Neutral,
}

impl Event {
    /// Every event, in the order in which they are offered.
    pub const ALL: [Self; 14] = [
        Self::Requested,
        Self::AwaitingApproval,
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::RolledBack,
        Self::Recovered,
        Self::Stuck,
        Self::TargetUnreachable,
        Self::Locked,
        Self::Unlocked,
        Self::KeyRotationDue,
        Self::Test,
    ];

    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RolledBack => "rolled_back",
            Self::Recovered => "recovered",
            Self::Stuck => "stuck",
            Self::TargetUnreachable => "target_unreachable",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
            Self::KeyRotationDue => "key_rotation_due",
            Self::Test => "test",
        }
    }

    /// Its bit in a set of events, which is stored too.
    #[must_use]
    pub fn bit(self) -> i64 {
        1 << match self {
            Self::Requested => 0,
            Self::AwaitingApproval => 1,
            Self::Started => 2,
            Self::Succeeded => 3,
            Self::Failed => 4,
            Self::Cancelled => 5,
            Self::RolledBack => 6,
            Self::Recovered => 7,
            Self::Stuck => 8,
            Self::TargetUnreachable => 9,
            Self::Locked => 10,
            Self::Unlocked => 11,
            Self::KeyRotationDue => 12,
            Self::Test => 13,
        }
    }

    /// Whether it is a failure or ends one.
    #[must_use]
    pub fn is_change(self) -> bool {
        match self {
            Self::Failed
            | Self::RolledBack
            | Self::Recovered
            | Self::Stuck
            | Self::TargetUnreachable => true,
            Self::Requested
            | Self::AwaitingApproval
            | Self::Started
            | Self::Succeeded
            | Self::Cancelled
            | Self::Locked
            | Self::Unlocked
            | Self::KeyRotationDue
            | Self::Test => false,
        }
    }

    /// How it should look.
    #[must_use]
    pub fn tone(self) -> Tone {
        match self {
            Self::Succeeded | Self::Recovered => Tone::Good,
            Self::Failed | Self::TargetUnreachable => Tone::Bad,
            Self::AwaitingApproval
            | Self::Cancelled
            | Self::RolledBack
            | Self::Stuck
            | Self::Locked
            | Self::KeyRotationDue => Tone::Warning,
            Self::Requested | Self::Started | Self::Unlocked | Self::Test => Tone::Neutral,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|event| event.as_str() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|event| event.as_str()).collect();
            format!("not an event; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn names_are_the_same_wherever_they_are_written() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
            let json = serde_json::to_string(&event).expect("it is written");
            assert_eq!(json, format!("\"{event}\""));
        }
        assert!("exploded".parse::<Event>().is_err());
    }
}
