//! What all simulated processes share: time, chance, the database, the index, the targets; and the
//! record of what happened, from which it is judged.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use slipway_core::{
    id::{DeploymentId, TargetId},
    settings::Settings,
};
use slipway_queue::memory::{MemoryBus, MemoryQueue, Snapshot};
use tokio::time::Instant;

use crate::{
    database::Sqlite, dice::Dice, mutants::Mutant, process::Process, scene, target::Target,
};

/// Events that are kept to be shown.
const EVENTS: usize = 400;
/// When the simulated clock begins, in microseconds since 1970: far from the real one.
const BEGINNING_US: i64 = 1_000_000_000_000_000;
/// Entries that the index takes unforced.
const CAP: usize = 1000;

/// One simulated installation.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) dice: Dice,
    pub(crate) sqlite: Sqlite,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) bus: Arc<MemoryBus>,
    pub(crate) settings: Settings,
    began: Instant,
    /// Whether anything goes wrong now.
    chaos: AtomicBool,
    state: Mutex<State>,
    pub(crate) panics: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) targets: BTreeMap<TargetId, Target>,
    pub(crate) ends: Vec<End>,
    pub(crate) children: usize,
    /// Answered requests by their keys.
    pub(crate) accepted: BTreeMap<String, DeploymentId>,
    /// When it was answered that a deployment is cancelled.
    pub(crate) cancelled: BTreeMap<DeploymentId, Instant>,
    pub(crate) open_requests: usize,
    pub(crate) processes: u32,
    pub(crate) snapshot: Option<Snapshot>,
    database_away: Option<Instant>,
    queue_away: Option<Instant>,
    hash: u64,
    events: VecDeque<(u64, &'static str, u32, i64, i64)>,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>) -> Arc<Self> {
        let targets = scene::TARGETS
            .iter()
            .map(|target| (target.id, Target::default()));
        let state = State {
            targets: targets.collect(),
            hash: 0xcbf2_9ce4_8422_2325,
            ..State::default()
        };
        Arc::new(Self {
            seed,
            mutant,
            dice: Dice::new(seed),
            sqlite: Sqlite::new(),
            queue: Arc::new(MemoryQueue::new(CAP)),
            bus: Arc::new(MemoryBus::new()),
            settings: scene::settings(),
            began: Instant::now(),
            chaos: AtomicBool::new(true),
            state: Mutex::new(state),
            panics: Arc::default(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lacks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn lease(&self) -> Duration {
        self.settings.queue.lease()
    }

    /// A new process under a name that was never used before.
    pub(crate) fn process(&self, kind: &str) -> Process {
        let mut state = self.state();
        state.processes += 1;
        let number = state.processes;
        Process::new(format!("{kind}-{number}"), number, Arc::clone(&self.panics))
    }

    // --- time ---------------------------------------------------------------------------------

    /// Lets simulated time go by.
    pub(crate) async fn pause(&self, span: Duration) {
        // pause: simulated time, which costs none
        tokio::time::sleep(span).await;
    }

    /// The database's clock.
    pub(crate) fn clock_us(&self) -> i64 {
        BEGINNING_US + i64::try_from(self.began.elapsed().as_micros()).unwrap_or(0)
    }

    /// The calendar of every process.
    pub(crate) fn utc_now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.clock_us()).unwrap_or_default()
    }

    // --- faults -------------------------------------------------------------------------------

    pub(crate) fn is_chaotic(&self) -> bool {
        self.chaos.load(Ordering::Relaxed)
    }

    /// Nothing goes wrong from here on.
    pub(crate) fn calm_down(&self) {
        self.chaos.store(false, Ordering::Relaxed);
        let mut state = self.state();
        state.database_away = None;
        state.queue_away = None;
    }

    /// Whether a fault that is this likely (in a thousand) happens now.
    pub(crate) fn goes_wrong(&self, in_a_thousand: usize) -> bool {
        self.is_chaotic() && self.dice.chance(in_a_thousand)
    }

    /// The way to a server and back: mostly short.
    pub(crate) async fn dawdle(&self, process: &Process) {
        if self.dice.chance(150) {
            self.pause(self.dice.millis(1, 12)).await;
        } else if self.goes_wrong(3) {
            self.pause(self.dice.millis(300, 4000)).await;
        } else {
            return;
        }
        process.pass().await;
    }

    /// Sometimes a process is stopped right where it is.
    pub(crate) fn perhaps_struck(self: &Arc<Self>, process: &Process) {
        if self.goes_wrong(3) {
            self.strike(process);
        }
    }

    /// Freezes a process for up to a minute, or kills it.
    pub(crate) fn strike(self: &Arc<Self>, process: &Process) {
        let shortest = *self.dice.pick(&[1000, 30_000]);
        self.strike_for(process, shortest);
    }

    /// Does so for at least that many milliseconds.
    pub(crate) fn strike_for(self: &Arc<Self>, process: &Process, shortest: u64) {
        if self.dice.chance(300) {
            if process.kill() {
                self.count("kills");
                self.note("killed", process.number(), 0, 0);
            }
        } else if process.freeze() {
            self.count("pauses");
            let span = self.dice.millis(shortest, 60_000);
            self.note("frozen", process.number(), span.as_millis() as i64, 0);
            let (world, process) = (Arc::clone(self), process.clone());
            tokio::spawn(async move {
                world.pause(span).await;
                world.note("thawed", process.number(), 0, 0);
                process.thaw();
            });
        }
    }

    pub(crate) fn take_database_away(&self, span: Duration) {
        self.state().database_away = Some(Instant::now() + span);
    }

    pub(crate) fn database_is_away(&self) -> bool {
        self.state()
            .database_away
            .is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn take_queue_away(&self, span: Duration) {
        self.state().queue_away = Some(Instant::now() + span);
    }

    pub(crate) fn queue_is_away(&self) -> bool {
        self.state()
            .queue_away
            .is_some_and(|until| Instant::now() < until)
    }

    // --- the record ---------------------------------------------------------------------------

    /// Notes that something happened; the same seed notes the same things.
    pub(crate) fn note(&self, what: &'static str, who: u32, a: i64, b: i64) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        let mut hash = state.hash;
        for byte in what.as_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        for number in [at, u64::from(who), a.cast_unsigned(), b.cast_unsigned()] {
            hash = (hash ^ number)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
        state.hash = hash;
        if state.events.len() == EVENTS {
            state.events.pop_front();
        }
        state.events.push_back((at, what, who, a, b));
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// Something that must never be.
    pub(crate) fn violated(&self, text: impl std::fmt::Display) {
        let at = self.began.elapsed();
        self.note("VIOLATION", 0, 0, 0);
        self.state()
            .violations
            .push(format!("{:.3} s: {text}", at.as_secs_f64()));
    }

    pub(crate) fn is_violated(&self) -> bool {
        !self.state().violations.is_empty()
    }

    /// What came of it.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        let panics = std::mem::take(&mut *panics);
        let state = self.state();
        let mut events = String::new();
        for (at, what, who, a, b) in &state.events {
            let seconds = *at as f64 / 1000.0;
            writeln!(events, "{seconds:10.3} {what:<24} process {who:<3} {a} {b}")
                .expect("text can be written");
        }
        Outcome {
            seed: self.seed,
            hash: state.hash,
            events,
            counts: state.counts.clone(),
            violations: state.violations.iter().cloned().chain(panics).collect(),
        }
    }

    /// Looks at the database right after a transaction.
    pub(crate) fn judge_commit(&self, accepted: bool) {
        let twice = "SELECT target_id FROM deployments WHERE status = 'running' \
                     GROUP BY target_id HAVING COUNT(*) > 1";
        if let Some(row) = self.sqlite.look(twice).first() {
            let target: i64 = row.try_get_by(0).unwrap();
            self.violated(format!("two deployments of target {target} are running"));
        }
        let running = "SELECT COUNT(*) FROM deployments WHERE status = 'running'";
        let running: i64 = self.sqlite.look(running)[0].try_get_by(0).unwrap();
        if running > i64::from(self.settings.queue.max_running) {
            self.violated(format!("{running} deployments are running"));
        }
        if accepted {
            let sql = "SELECT COUNT(*) FROM deployments WHERE status = 'queued'";
            let depth: i64 = self.sqlite.look(sql)[0].try_get_by(0).unwrap();
            let limit = i64::from(self.settings.queue.backlog_limit);
            if depth > limit {
                self.violated(format!("{depth} wait, although {limit} may"));
            }
        }
    }
}

/// A run that came to its own end: it succeeded or failed.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) id: DeploymentId,
    pub(crate) attempt: i64,
    pub(crate) fence: i64,
    pub(crate) at: Instant,
    pub(crate) failed: bool,
}

/// What came of one seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) events: String,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) violations: Vec<String>,
}
