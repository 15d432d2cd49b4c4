//! What a simulated worker does with a deployment: takes its time, sometimes fails, and switches its
//! target, heeding the same signals in the same places as the real run does.

use std::{sync::Arc, time::Duration};

use slipway_core::{
    ctx::Ctx,
    deployment::{
        brief::{Brief, Known},
        entity::deployment::Model,
        line::Source,
        reason::{Code, Reason},
        run::{Ended, RunEnd},
        step::Phase,
        store::{
            claim::is_current,
            ending::Last,
            log::Chunk,
            step::{Plan, PlannedStep, RunKey},
        },
    },
    project::policy::RetryPolicy,
};
use slipway_worker::{
    lease::{Keeper, Signals},
    runner::Work,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    process::Process,
    target::Switch,
    world::{End, World},
};

/// How often a run looks whether its guard still lets it go on.
const TICK: Duration = Duration::from_secs(3);
/// Milliseconds after which a frozen worker has been replaced, or soon is.
const LONG: u64 = 35_000;
/// Steps of a run that is planned with its claim.
pub(crate) const PLANNED: usize = 2;
/// Wait before the database is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// One worker's payload.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) ctx: Ctx,
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
    pub(crate) keeper: Keeper,
    pub(crate) hand_back: CancellationToken,
}

/// Why a run stops before its end.
enum Stop {
    Failed(Reason),
    Halted,
    /// The guard killed what it had started.
    Killed,
}

impl Work for Payload {
    fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    fn name(&self) -> &str {
        self.process.name()
    }

    fn hand_back(&self) -> &CancellationToken {
        &self.hand_back
    }

    fn plan(&self, row: &Model, _brief: &Brief) -> Option<Plan> {
        let step = |name: &str, begins| PlannedStep {
            phase: Phase::After,
            name: name.to_owned(),
            host: "local".to_owned(),
            begins,
        };
        let mut greeting = Chunk::new(row.id, row.fence, None, 1, 0);
        greeting.push(Source::Slipway, 0, "It begins.");
        Some(Plan {
            run: RunKey {
                deployment: row.id,
                fence: row.fence,
                attempt: row.attempt,
            },
            pipeline: format!("{{\"run\": {}}}", row.fence),
            steps: vec![step("first", row.started_at), step("second", None)],
            greeting: Some(greeting),
        })
    }

    async fn run(&self, row: Model, known: Known, signals: &Signals) -> Option<Ended> {
        let world = &self.world;
        self.check(&row, &known);
        world.perhaps_struck(&self.process);
        self.process.pass().await;
        world.dawdle(&self.process).await;
        let resumed = world.is_live(&row);
        let work = if resumed {
            world.count("re-runs avoided");
            Duration::from_millis(1)
        } else {
            duration(world)
        };
        // No command starts for a run that is known to be lost.
        if signals.lost.is_cancelled() {
            return None;
        }
        let deadline = self.deadline(&row)?;
        let child = world.begin_child(&self.process, &row, deadline, work)?;
        let outcome = self.carry_out(&row, signals, child, (work, resumed)).await;
        world.end_child(row.target_id, child);
        let end = match outcome {
            _ if signals.lost.is_cancelled() => return None,
            Err(Stop::Killed) => return None,
            Ok(()) => RunEnd::Succeeded,
            Err(Stop::Failed(reason)) if !self.is_halted(signals) => RunEnd::Failed(reason),
            Err(_) if signals.cancelled.is_cancelled() => RunEnd::Cancelled,
            Err(Stop::Halted | Stop::Failed(_)) => RunEnd::HandedBack,
        };
        if let RunEnd::Succeeded | RunEnd::Failed(_) = end {
            let failed = matches!(end, RunEnd::Failed(_));
            world.state().ends.push(End {
                id: row.id,
                attempt: row.attempt,
                fence: row.fence,
                at: Instant::now(),
                failed,
            });
        }
        // Another bad moment: it is over, and nobody knows yet.
        if world.goes_wrong(80) {
            world.strike_for(&self.process, LONG);
        }
        self.process.pass().await;
        let retry = RetryPolicy::new(&self.ctx.settings.queue, None, None);
        let last = Last::default();
        Some(Ended { end, retry, last })
    }

    async fn clean_up(&self, _row: &Model) {
        self.process.pass().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.process.spawn(task);
    }
}

impl Payload {
    /// What was written with a claim is known by its run, whether the claim was answered or not.
    fn check(&self, row: &Model, known: &Known) {
        let world = &self.world;
        let lines = known.brief.as_ref().map(|brief| brief.last_line);
        match (lines, known.planned.len()) {
            // A later run.
            (None, 0) => {}
            (None, PLANNED) => world.count("plans found although the claim was not answered"),
            (Some(1), PLANNED) => {}
            (lines, steps) => world.violated(format!(
                "the run of deployment {} (fence {}) knows of {steps} steps and of line {lines:?}",
                row.id, row.fence
            )),
        }
    }

    /// When the guard ends what this run has started, unless its lease is renewed.
    fn deadline(&self, row: &Model) -> Option<Instant> {
        let renewed = self.keeper.renewed(row.id)?;
        Some(renewed + self.world.lease() * 4 / 5)
    }

    fn is_halted(&self, signals: &Signals) -> bool {
        let tokens = [&signals.lost, &signals.cancelled, &self.hand_back];
        tokens.into_iter().any(CancellationToken::is_cancelled)
    }

    async fn halted(&self, signals: &Signals) {
        tokio::select! {
            biased;
            () = signals.lost.cancelled() => {}
            () = signals.cancelled.cancelled() => {}
            () = self.hand_back.cancelled() => {}
        }
    }

    async fn carry_out(
        &self,
        row: &Model,
        signals: &Signals,
        child: usize,
        (work, resumed): (Duration, bool),
    ) -> Result<(), Stop> {
        let world = &self.world;
        self.spend(row, signals, child, work).await?;
        if !resumed && world.dice.chance(200) {
            return Err(failed(Code::StepFailed));
        }
        if !self.is_ours(row, signals).await? || self.is_halted(signals) {
            return Err(Stop::Halted);
        }
        // The worst moment to stop: the database has agreed, and the target was not asked yet.
        if world.goes_wrong(100) {
            world.strike_for(&self.process, LONG);
        }
        self.process.pass().await;
        world.dawdle(&self.process).await;
        let previous = match world.switch(&self.process, (row, signals), Some(row.id)) {
            Switch::Live { previous } => previous,
            Switch::Stale => return Err(failed(Code::StaleFence)),
            Switch::TooLate => return Err(Stop::Halted),
        };
        let after = world.dice.millis(0, 2500);
        let proven = self.spend(row, signals, child, after).await;
        if proven.is_err() && signals.cancelled.is_cancelled() {
            self.process.pass().await;
            let previous = previous.filter(|previous| *previous != row.id);
            if previous.is_some() && !signals.lost.is_cancelled() {
                world.switch(&self.process, (row, signals), previous);
            }
        }
        proven
    }

    /// Lets the run's processes do their work.
    async fn spend(
        &self,
        row: &Model,
        signals: &Signals,
        child: usize,
        work: Duration,
    ) -> Result<(), Stop> {
        let done = Instant::now() + work;
        while Instant::now() < done {
            let step = (done - Instant::now()).min(TICK);
            let halted = tokio::select! {
                biased;
                () = self.halted(signals) => true,
                () = self.world.pause(step) => false,
            };
            let deadline = self.deadline(row).unwrap_or_else(Instant::now);
            if !self.world.keep_child(row.target_id, child, deadline) {
                self.world.count("children killed by the guard");
                return Err(Stop::Killed);
            }
            if halted {
                // Processes take their time to stop; the guard bounds it.
                self.world.pause(self.world.dice.millis(0, 3000)).await;
                return Err(Stop::Halted);
            }
        }
        Ok(())
    }

    async fn is_ours(&self, row: &Model, signals: &Signals) -> Result<bool, Stop> {
        loop {
            if let Ok(ours) = is_current(&self.ctx.db, row.id, row.fence).await {
                return Ok(ours);
            }
            let pause = self.world.pause(PAUSE);
            if signals.lost.run_until_cancelled(pause).await.is_none() {
                return Err(Stop::Halted);
            }
        }
    }
}

fn failed(code: Code) -> Stop {
    Stop::Failed(Reason::new(code, "as the dice fell"))
}

fn duration(world: &World) -> Duration {
    match world.dice.below(10) {
        0..8 => world.dice.millis(100, 4000),
        8 => world.dice.millis(4000, 20_000),
        _ => world.dice.millis(20_000, 60_000),
    }
}
