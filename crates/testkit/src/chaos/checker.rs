//! Judges a run from what its steps wrote down and what the API answered: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    client::{Accepted, Seen},
    record::{Design, Fate, Moment, Record},
};

/// Losses of a worker that a deployment survives; with the next one it is given up, by design.
const LOSSES_SURVIVED: i64 = 2;

/// Everything that is known about a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What the steps wrote, in the order of writing.
    pub records: Vec<Record>,
    /// What was accepted.
    pub accepted: Vec<Accepted>,
    /// What the API shows in the end.
    pub seen: Vec<Seen>,
    /// How deployments were meant to go.
    pub design: Design,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub kind: Kind,
    /// What was seen.
    pub text: String,
}

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An accepted deployment is not there.
    Lost,
    /// There are more deployments than requests, or two for one request.
    Doubled,
    /// A deployment has not ended.
    Stuck,
    /// It ended in another way than it was meant to.
    WrongEnd,
    /// Its attempts are not those that it made.
    WrongAttempts,
    /// Two runs were on one target at the same time.
    Overlap,
    /// A newer deployment of a target ran before an older one, or a fence did not rise.
    OutOfOrder,
    /// It ran more often than it was interrupted.
    RanAgain,
    /// The index holds something when nothing is open.
    Leftover,
    /// A process ended by itself.
    ProcessEnded,
    /// A process took more and more memory.
    Memory,
    /// Recovery took longer than promised.
    Late,
    /// A request was refused that should not have been, or accepted.
    Refused,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Lost,
        Self::Doubled,
        Self::Stuck,
        Self::WrongEnd,
        Self::WrongAttempts,
        Self::Overlap,
        Self::OutOfOrder,
        Self::RanAgain,
        Self::Leftover,
        Self::ProcessEnded,
        Self::Memory,
        Self::Late,
        Self::Refused,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "accepted twice",
            Self::Stuck => "stuck",
            Self::WrongEnd => "wrong end",
            Self::WrongAttempts => "attempts miscounted",
            Self::Overlap => "overlapping",
            Self::OutOfOrder => "out of order",
            Self::RanAgain => "ran again",
            Self::Leftover => "left in the index",
            Self::ProcessEnded => "process ended",
            Self::Memory => "memory grew",
            Self::Late => "late",
            Self::Refused => "wrongly answered",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.text)
    }
}

/// Whether a deployment was given up because its workers were lost too often.
#[must_use]
pub(crate) fn is_given_up(seen: &Seen) -> bool {
    seen.status == "failed" && seen.reason == "worker_lost" && seen.interruptions == LOSSES_SURVIVED
}

/// Everything that is wrong with a run.
#[must_use]
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut found = accounts(history);
    for seen in &history.seen {
        found.extend(end(seen, history.design));
    }
    found.extend(targets(&history.records));
    found.extend(repeats(history));
    found
}

fn violation(kind: Kind, text: impl Into<String>) -> Violation {
    let text = text.into();
    Violation { kind, text }
}

/// Each request is one deployment and each deployment one request.
fn accounts(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let known: BTreeSet<i64> = history.seen.iter().map(|seen| seen.id).collect();
    let mut asked: BTreeMap<i64, &str> = BTreeMap::new();
    for accepted in &history.accepted {
        let (id, key) = (accepted.id, accepted.key.as_str());
        if let Some(other) = asked.insert(id, key) {
            found.push(violation(
                Kind::Doubled,
                format!("{other} and {key} are both {id}"),
            ));
        }
        if !known.contains(&id) {
            found.push(violation(Kind::Lost, format!("{id}, which was {key}")));
        }
    }
    let strangers = known.iter().filter(|id| !asked.contains_key(id));
    found.extend(strangers.map(|id| violation(Kind::Doubled, format!("nobody asked for {id}"))));
    found
}

/// How a deployment ended.
fn end(seen: &Seen, design: Design) -> Option<Violation> {
    if !seen.is_over() {
        return Some(violation(Kind::Stuck, format!("{seen:?}")));
    }
    if is_given_up(seen) {
        return None;
    }
    let fate = design.fate(seen.id);
    let wanted = match fate {
        Fate::Succeeds | Fate::FailsOnce => ("succeeded", ""),
        Fate::Fails => ("failed", "step_failed"),
    };
    let is_wanted = seen.status == wanted.0 && (wanted.1.is_empty() || seen.reason == wanted.1);
    if !is_wanted {
        return Some(violation(
            Kind::WrongEnd,
            format!("{seen:?} instead of {wanted:?}"),
        ));
    }
    let attempts = match fate {
        Fate::Succeeds => 1..=1,
        // The failure itself may have been lost with its worker, which costs no attempt.
        Fate::FailsOnce if seen.interruptions > 0 => 1..=2,
        Fate::FailsOnce => 2..=2,
        Fate::Fails => 3..=3,
    };
    (!attempts.contains(&seen.attempt)).then(|| {
        violation(
            Kind::WrongAttempts,
            format!("{seen:?} instead of {attempts:?}"),
        )
    })
}

/// One run after the other on each target, older deployments first, with rising fences.
fn targets(records: &[Record]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut latest: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in records {
        let before = latest.get(record.target.as_str()).copied();
        match (record.moment, before) {
            (Moment::Overlapped, before) => {
                found.push(violation(
                    Kind::Overlap,
                    format!("{record:?} while {before:?}"),
                ));
            }
            (Moment::Started, before) => {
                if let Some(before) = before.filter(|before| {
                    before.fence >= record.fence || before.deployment > record.deployment
                }) {
                    found.push(violation(
                        Kind::OutOfOrder,
                        format!("{record:?} after {before:?}"),
                    ));
                }
                latest.insert(&record.target, record);
            }
            // A run that had not ended when the next one began was still there.
            (Moment::Ended | Moment::Failed, Some(before)) if before.fence != record.fence => {
                found.push(violation(
                    Kind::Overlap,
                    format!("{record:?} during {before:?}"),
                ));
            }
            (Moment::Ended | Moment::Failed, _) => {}
        }
    }
    found
}

/// No deployment runs more often than its failures and interruptions call for.
fn repeats(history: &History) -> Vec<Violation> {
    let mut runs: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for record in &history.records {
        let (started, ended) = runs.entry(record.deployment).or_default();
        match record.moment {
            Moment::Started => *started += 1,
            Moment::Ended => *ended += 1,
            Moment::Failed | Moment::Overlapped => {}
        }
    }
    let mut found = Vec::new();
    for seen in &history.seen {
        let (started, ended) = runs.get(&seen.id).copied().unwrap_or_default();
        if seen.status == "succeeded" && ended == 0 {
            found.push(violation(
                Kind::WrongEnd,
                format!("{seen:?} did not run to its end"),
            ));
        }
        if started > seen.attempt + seen.interruptions || ended > 1 + seen.interruptions {
            let text = format!("{seen:?}: {started} runs, {ended} of them to the end");
            found.push(violation(Kind::RanAgain, text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(moment: Moment, deployment: i64, fence: i64) -> Record {
        Record {
            moment,
            target: "t".to_owned(),
            deployment,
            fence,
            parent: 1,
            process: 2,
            at_ns: 0,
        }
    }

    fn accepted(id: i64) -> Accepted {
        Accepted {
            key: format!("key-{id}"),
            id,
            asked_ns: 0,
        }
    }

    fn seen(id: i64, status: &str, attempt: i64, interruptions: i64) -> Seen {
        Seen {
            id,
            target: "t".to_owned(),
            status: status.to_owned(),
            attempt,
            interruptions,
            reason: if status == "failed" {
                "step_failed"
            } else {
                ""
            }
            .to_owned(),
        }
    }

    /// Two deployments, the first of which lost its worker once.
    fn good() -> History {
        use Moment::{Ended, Started};
        History {
            records: vec![
                record(Started, 1, 1),
                record(Started, 1, 2),
                record(Ended, 1, 2),
                record(Started, 2, 3),
                record(Ended, 2, 3),
            ],
            accepted: vec![accepted(1), accepted(2)],
            seen: vec![seen(1, "succeeded", 1, 1), seen(2, "succeeded", 1, 0)],
            design: Design::default(),
        }
    }

    #[track_caller]
    fn expect(change: impl FnOnce(&mut History), kind: Kind) {
        let mut history = good();
        change(&mut history);
        let found: BTreeSet<Kind> = check(&history).iter().map(|it| it.kind).collect();
        assert!(found.contains(&kind), "{found:?}");
    }

    #[test]
    fn good_run_has_no_violation() {
        assert_eq!(check(&good()), []);
    }

    #[test]
    fn broken_promises_are_found() {
        use Moment::{Ended, Overlapped};
        expect(|it| drop(it.seen.pop()), Kind::Lost);
        expect(|it| drop(it.accepted.pop()), Kind::Doubled);
        expect(|it| it.accepted[1].id = 1, Kind::Doubled);
        expect(|it| it.seen[1].status = "running".to_owned(), Kind::Stuck);
        expect(|it| it.seen[1].status = "failed".to_owned(), Kind::WrongEnd);
        expect(|it| drop(it.records.pop()), Kind::WrongEnd);
        expect(|it| it.seen[0].attempt = 2, Kind::WrongAttempts);
        expect(
            |it| it.records.push(record(Overlapped, 2, 3)),
            Kind::Overlap,
        );
        expect(
            |it| it.records.insert(2, record(Ended, 1, 1)),
            Kind::Overlap,
        );
        expect(|it| it.records[3].fence = 2, Kind::OutOfOrder);
        expect(|it| it.records.rotate_left(3), Kind::OutOfOrder);
        expect(|it| it.seen[0].interruptions = 0, Kind::RanAgain);
    }

    #[test]
    fn deployment_may_be_given_up_after_three_losses_only() {
        let mut lost = seen(1, "failed", 1, 2);
        lost.reason = "worker_lost".to_owned();
        assert_eq!(end(&lost, Design::default()), None);
        lost.interruptions = 1;
        assert!(end(&lost, Design::default()).is_some());
    }

    #[test]
    fn failures_that_were_meant_are_counted_exactly() {
        let design = Design {
            failures: true,
            ..Design::default()
        };
        assert_eq!(end(&seen(13, "failed", 3, 1), design), None);
        assert!(end(&seen(13, "failed", 2, 1), design).is_some());
        assert_eq!(end(&seen(7, "succeeded", 2, 0), design), None);
        assert_eq!(end(&seen(7, "succeeded", 1, 1), design), None);
        assert!(end(&seen(7, "succeeded", 1, 0), design).is_some());
    }
}
