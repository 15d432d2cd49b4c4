//! Whether a subscription wants to be told of something: pure.

use chrono::{DateTime, Utc};

use super::entity::Model;
use crate::{id::TargetId, notify::event::Event, pipeline::condition::glob::Glob};

/// Something that happened, as far as filters look at it.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// What.
    pub event: Event,
    /// On which target; none when it concerns all of the project's.
    pub target: Option<TargetId>,
    /// The branch, for a deployment of one.
    pub branch: Option<&'a str>,
    /// Whether it is about a deployment: a lock has no branch, and no filter of branches hides it.
    pub is_deployment: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// The bits of events.
#[must_use]
pub fn bits(events: impl IntoIterator<Item = Event>) -> i64 {
    let events = events.into_iter();
    events.fold(0, |bits, event| bits | event.bit())
}

/// The events of bits, in the order in which they are offered.
#[must_use]
pub fn events(bits: i64) -> Vec<Event> {
    let all = Event::ALL.into_iter();
    all.filter(|event| bits & event.bit() != 0).collect()
}

/// A glob of branches that can be matched.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_branch(glob: &str) -> Result<(), String> {
    if glob.is_empty() || glob.chars().count() > 255 || glob.chars().any(char::is_control) {
        return Err("must be 1 to 255 characters on one line".to_owned());
    }
    Glob::new(glob)
        .map(|_| ())
        .map_err(|error| error.kind().to_string())
}

/// Whether it is told.
#[must_use]
pub fn wants(row: &Model, occasion: &Occasion<'_>) -> bool {
    let is_muted = row.muted_until.is_some_and(|until| occasion.at < until);
    let is_hidden = row.changes_only && !occasion.event.is_change();
    row.events & occasion.event.bit() != 0
        && !is_muted
        && !is_hidden
        && is_target(row, occasion.target)
        && is_branch(row, occasion)
}

fn is_target(row: &Model, target: Option<TargetId>) -> bool {
    let only: Vec<TargetId> = serde_json::from_str(&row.targets).unwrap_or_default();
    only.is_empty() || target.is_none_or(|target| only.contains(&target))
}

fn is_branch(row: &Model, occasion: &Occasion<'_>) -> bool {
    let globs: Vec<String> = serde_json::from_str(&row.branches).unwrap_or_default();
    if globs.is_empty() || !occasion.is_deployment {
        return true;
    }
    let matches = |branch: &str| {
        let mut globs = globs.iter().filter_map(|glob| Glob::new(glob).ok());
        globs.any(|glob| glob.is_match(branch))
    };
    occasion.branch.is_some_and(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, SubscriptionId};

    fn row() -> Model {
        Model {
            id: SubscriptionId(1),
            project_id: ProjectId(1),
            events: bits(Event::ALL),
            targets: "[]".to_owned(),
            branches: "[]".to_owned(),
            changes_only: false,
            muted_until: None,
            muted_reason: None,
            muted_by: None,
            created_by: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    const FAILED: Occasion<'static> = Occasion {
        event: Event::Failed,
        target: Some(TargetId(7)),
        branch: Some("release/1"),
        is_deployment: true,
        at: DateTime::UNIX_EPOCH,
    };

    #[test]
    fn bits_are_one_for_each_event() {
        assert_eq!(events(bits(Event::ALL)), Event::ALL);
        assert_eq!(bits(Event::ALL).count_ones(), 14);
        assert_eq!(events(Event::Stuck.bit()), [Event::Stuck]);
    }

    #[test]
    fn events_targets_and_branches_are_filtered() {
        assert!(wants(&row(), &FAILED));
        let other = Model {
            events: Event::Succeeded.bit(),
            ..row()
        };
        assert!(!wants(&other, &FAILED));
        for (targets, is_wanted) in [("[7]", true), ("[8]", false)] {
            let targets = targets.to_owned();
            assert_eq!(wants(&Model { targets, ..row() }, &FAILED), is_wanted);
        }
        for (globs, is_wanted) in [
            ("[\"release/*\"]", true),
            ("[\"main\",\"release/**\"]", true),
            ("[\"main\"]", false),
            ("[\"*\"]", false),
        ] {
            let only = Model {
                branches: globs.to_owned(),
                ..row()
            };
            assert_eq!(wants(&only, &FAILED), is_wanted, "{globs}");
            let lock = Occasion {
                event: Event::Locked,
                target: None,
                branch: None,
                is_deployment: false,
                ..FAILED
            };
            assert!(wants(&only, &lock), "a lock has no branch");
            let nowhere = Occasion {
                branch: None,
                ..FAILED
            };
            assert!(!wants(&only, &nowhere));
        }
    }

    #[test]
    fn only_failures_and_what_ends_them_are_changes() {
        let only = Model {
            changes_only: true,
            ..row()
        };
        let told: Vec<Event> = Event::ALL
            .into_iter()
            .filter(|event| {
                let occasion = Occasion {
                    event: *event,
                    ..FAILED
                };
                wants(&only, &occasion)
            })
            .collect();
        assert_eq!(
            told,
            [
                Event::Failed,
                Event::RolledBack,
                Event::Recovered,
                Event::Stuck,
                Event::TargetUnreachable,
            ]
        );
    }

    #[test]
    fn mute_ends_by_itself() {
        let muted = Model {
            muted_until: DateTime::from_timestamp(60, 0),
            ..row()
        };
        assert!(!wants(&muted, &FAILED));
        let later = Occasion {
            at: DateTime::from_timestamp(60, 0).unwrap(),
            ..FAILED
        };
        assert!(wants(&muted, &later));
    }

    #[test]
    fn globs_are_checked() {
        assert_eq!(check_branch("release/*"), Ok(()));
        for wrong in ["", "[", "a\nb"] {
            assert!(check_branch(wrong).is_err(), "{wrong:?}");
        }
    }
}
