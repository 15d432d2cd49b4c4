//! What a process counts from its start on; the numbers only rise.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    deployment::{entity::deployment::Model, status::Status},
    notify::delivery::state::State,
    recovery::{rebuild::Rebuilt, reconciler::Mended},
    word::words,
};

words! {
    /// Why recovery had to do something.
    Cause {
        /// A lease had run out, and the reaper took the deployment back.
        WorkerLost = "worker_lost",
        /// Another start of a worker on the same machine took them back at once.
        FastPath = "fast_path",
        /// The index did not know a queued deployment.
        Pushed = "pushed",
        /// An entry of the index was in no list.
        Adrift = "adrift",
        /// The index did not hold a running deployment.
        Held = "held",
        /// The index had an entry of a deployment that has ended.
        Removed = "removed",
        /// A target's state, or an entry's priority, did not fit.
        Repaired = "repaired",
        /// An entry waited for a lock that is gone.
        Lifted = "lifted",
        /// The index had lost its data.
        Rebuilt = "rebuilt",
    }
}

/// Upper bounds of the classes of waiting times, in milliseconds; one more class has no bound.
pub const BOUNDS_MS: [u64; 14] = [
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 600_000,
];

/// The numbers of this process.
#[derive(Debug, Default)]
pub struct Counters {
    recoveries: [AtomicU64; Cause::ALL.len()],
    ended: [AtomicU64; Status::ALL.len()],
    started: [AtomicU64; BOUNDS_MS.len() + 1],
    started_us: AtomicU64,
    sent: [AtomicU64; State::ALL.len()],
}

impl Counters {
    /// Recovery had to do something this often.
    pub fn recovered(&self, cause: Cause, times: u64) {
        for (of, counter) in Cause::ALL.iter().zip(&self.recoveries) {
            if *of == cause {
                counter.fetch_add(times, Ordering::Relaxed);
            }
        }
    }

    /// The reconciler mended something.
    pub fn mended(&self, mended: Mended) {
        for (cause, times) in [
            (Cause::Pushed, mended.pushed),
            (Cause::Adrift, mended.adrift),
            (Cause::Held, mended.held),
            (Cause::Removed, mended.removed),
            (Cause::Repaired, mended.repaired),
            (Cause::Lifted, mended.lifted),
        ] {
            self.recovered(cause, times);
        }
    }

    /// The index was rebuilt, here or elsewhere.
    pub fn rebuilt(&self, rebuilt: Rebuilt) {
        match rebuilt {
            Rebuilt::Done(_) => self.recovered(Cause::Rebuilt, 1),
            Rebuilt::Elsewhere => {}
        }
    }

    /// A deployment came to an end here.
    pub fn ended(&self, status: Status) {
        for (of, counter) in Status::ALL.iter().zip(&self.ended) {
            if *of == status && status.is_terminal() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// An attempt to send a message ended here, and left it in this state; nothing when another sender
    /// has it.
    pub fn sent(&self, state: Option<State>) {
        for (of, counter) in State::ALL.iter().zip(&self.sent) {
            if Some(*of) == state {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A deployment started here. Only the first start counts: later ones wait for other reasons.
    pub fn started(&self, row: &Model) {
        let Some(at) = row.started_at else {
            return;
        };
        if row.attempt == 1 && row.interruptions == 0 {
            self.waited((at - row.created_at).to_std().unwrap_or_default());
        }
    }

    fn waited(&self, wait: Duration) {
        let over = BOUNDS_MS
            .iter()
            .take_while(|bound| wait > Duration::from_millis(**bound));
        if let Some(class) = self.started.get(over.count()) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.started_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// The numbers as they are now.
    #[must_use]
    pub fn read(&self) -> Counted {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let causes = Cause::ALL.iter().zip(&self.recoveries);
        let states = Status::ALL.iter().zip(&self.ended);
        Counted {
            recoveries: causes
                .map(|(cause, counter)| (cause.as_str().to_owned(), number(counter)))
                .collect(),
            ended: states
                .filter(|(status, _)| status.is_terminal())
                .map(|(status, counter)| (status.as_str().to_owned(), number(counter)))
                .collect(),
            started: self.started.iter().map(number).collect(),
            started_us: number(&self.started_us),
            sent: [State::Delivered, State::Pending, State::Failed]
                .into_iter()
                .filter_map(|state| {
                    let mut counters = State::ALL.iter().zip(&self.sent);
                    let (_, counter) = counters.find(|(of, _)| **of == state)?;
                    Some((outcome(state).to_owned(), number(counter)))
                })
                .collect(),
        }
    }
}

/// The numbers of a process as they are published; a newer version may count more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// How often recovery did something, by cause.
    pub recoveries: BTreeMap<String, u64>,
    /// How many deployments came to an end, by status.
    pub ended: BTreeMap<String, u64>,
    /// How many started, by how long they had waited: one number for each of [`BOUNDS_MS`], and one
    /// for those that waited longer.
    pub started: Vec<u64>,
    /// How long they had waited in all, in microseconds.
    pub started_us: u64,
    /// How many attempts to send a message ended, by outcome.
    pub sent: BTreeMap<String, u64>,
}

/// What became of an attempt that left its message in this state.
fn outcome(state: State) -> &'static str {
    if state == State::Pending {
        "retry"
    } else {
        state.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_sorted_into_classes_with_inclusive_bounds() {
        let counters = Counters::default();
        for millis in [0, 5, 6, 600_000, 600_001] {
            counters.waited(Duration::from_millis(millis));
        }
        let counted = counters.read();
        assert_eq!(counted.started.len(), BOUNDS_MS.len() + 1);
        assert_eq!(counted.started[..2], [2, 1]);
        assert_eq!(counted.started[BOUNDS_MS.len() - 1..], [1, 1]);
        assert_eq!(counted.started_us, 1_200_012_000);
    }

    #[test]
    fn numbers_survive_being_published() {
        let counters = Counters::default();
        counters.recovered(Cause::FastPath, 3);
        counters.ended(Status::Failed);
        counters.ended(Status::Running);
        let text = serde_json::to_string(&counters.read()).unwrap();
        let counted: Counted = serde_json::from_str(&text).unwrap();
        assert_eq!(counted, counters.read());
        assert_eq!(counted.recoveries["fast_path"], 3);
        assert_eq!((counted.ended["failed"], counted.ended.len()), (1, 4));
        let older: Counted = serde_json::from_str(r#"{"unknown": 1}"#).unwrap();
        assert_eq!(older, Counted::default());
    }
}
