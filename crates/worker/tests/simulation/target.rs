//! What deployments do to a target, recorded apart from the database: the children that run there,
//! and the release that is live.

use std::{sync::Arc, time::Duration};

use slipway_core::{
    deployment::entity::deployment::Model,
    id::{DeploymentId, TargetId},
};
use slipway_worker::lease::Signals;
use tokio::time::Instant;

use crate::{mutants::Mutant, process::Process, world::World};

/// One target.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) children: Vec<Child>,
    /// The newest ticket that was shown: fence and deployment.
    ticket: Option<(i64, DeploymentId)>,
    pub(crate) active: Option<DeploymentId>,
    /// Every switch: fence, deployment.
    pub(crate) switches: Vec<(i64, DeploymentId)>,
    /// The newest deployment that was begun.
    begun: Option<DeploymentId>,
}

/// The processes of one run.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) number: usize,
    pub(crate) id: DeploymentId,
    fence: i64,
    process: Process,
    /// When the guard kills it unless its lease is renewed.
    deadline: Instant,
    /// When its work is done.
    until: Instant,
    ended: bool,
}

impl Child {
    fn is_alive(&self, world: &World) -> bool {
        if self.ended {
            return false;
        }
        let now = Instant::now();
        if world.lacks(Mutant::NoGuard) {
            return now < self.until;
        }
        !self.process.is_dead() && now < self.deadline
    }
}

/// What a target answers to a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    Live { previous: Option<DeploymentId> },
    Stale,
    TooLate,
}

impl World {
    /// Begins a run's processes, and checks that they are alone and in their turn. Nothing when the
    /// guard would not let them begin.
    pub(crate) fn begin_child(
        self: &Arc<Self>,
        process: &Process,
        row: &Model,
        deadline: Instant,
        work: Duration,
    ) -> Option<usize> {
        let now = Instant::now();
        if now >= deadline && !self.lacks(Mutant::NoGuard) {
            self.count("runs that the guard did not let begin");
            return None;
        }
        self.note("begins", process.number(), row.id.0, row.fence);
        self.count("runs");
        let mut problems = Vec::new();
        let mut state = self.state();
        state.children += 1;
        let number = state.children;
        let target = state.targets.get_mut(&row.target_id)?;
        for other in target.children.iter().filter(|child| child.is_alive(self)) {
            problems.push(format!(
                "deployment {} (fence {}) began on target {} while {} (fence {}) ran there",
                row.id, row.fence, row.target_id, other.id, other.fence
            ));
        }
        if let Some(newer) = target.begun.filter(|begun| *begun > row.id) {
            problems.push(format!(
                "deployment {} began on target {} after the newer {newer}",
                row.id, row.target_id
            ));
        }
        target.begun = target.begun.max(Some(row.id));
        target.children.push(Child {
            number,
            id: row.id,
            fence: row.fence,
            process: process.clone(),
            deadline,
            until: now + work,
            ended: false,
        });
        drop(state);
        if row.not_before > self.clock_us() {
            problems.push(format!("deployment {} began before its time", row.id));
        }
        self.judge_delay(row, &mut problems);
        problems.into_iter().for_each(|text| self.violated(text));
        Some(number)
    }

    /// A charged attempt that failed has to be followed by its wait.
    fn judge_delay(&self, row: &Model, problems: &mut Vec<String>) {
        // A run that was replaced meanwhile may have failed later, and was not charged.
        let failed_before = self
            .state()
            .ends
            .iter()
            .filter(|end| end.id == row.id && end.attempt == row.attempt - 1 && end.failed)
            .map(|end| end.at)
            .min();
        let delays = &self.settings.queue.retry_delays;
        let index = usize::try_from(row.attempt - 2).ok();
        let delay = index.and_then(|index| delays.get(index).or(delays.last()));
        if let (Some(at), Some(delay)) = (failed_before, delay)
            && at.elapsed() < Duration::from_millis(*delay)
        {
            problems.push(format!(
                "attempt {} of deployment {} began {} ms after the last one failed",
                row.attempt,
                row.id,
                at.elapsed().as_millis()
            ));
        }
    }

    /// Renews what the guard knows; false when the guard has killed it meanwhile.
    pub(crate) fn keep_child(&self, target: TargetId, number: usize, deadline: Instant) -> bool {
        let lax = self.lacks(Mutant::NoGuard);
        let mut state = self.state();
        let children = state.targets.get_mut(&target).map(|it| &mut it.children);
        let child = children.and_then(|all| all.iter_mut().find(|child| child.number == number));
        let Some(child) = child else {
            return false;
        };
        if Instant::now() >= child.deadline && !lax {
            child.ended = true;
            return false;
        }
        child.deadline = child.deadline.max(deadline);
        true
    }

    pub(crate) fn end_child(&self, target: TargetId, number: usize) {
        let mut state = self.state();
        if let Some(target) = state.targets.get_mut(&target) {
            target.children.retain(|child| child.number != number);
        }
    }

    pub(crate) fn is_live(&self, row: &Model) -> bool {
        let state = self.state();
        let target = state.targets.get(&row.target_id);
        target.is_some_and(|target| target.active == Some(row.id))
    }

    /// Makes a release live, as a target does: under its lock, only for the newest ticket, and only
    /// for a run whose time is not over by production's own judgement.
    pub(crate) fn switch(
        &self,
        process: &Process,
        (row, signals): (&Model, &Signals),
        to: Option<DeploymentId>,
    ) -> Switch {
        let lax = [Mutant::NoTargetFence, Mutant::NoDeadline];
        if !lax.into_iter().any(|mutant| self.lacks(mutant)) && signals.give_up_if_late() {
            self.count("late activations refused");
            return Switch::TooLate;
        }
        let mut state = self.state();
        let Some(target) = state.targets.get_mut(&row.target_id) else {
            return Switch::Stale;
        };
        let shown = (row.fence, row.id);
        let stale = target
            .ticket
            .is_some_and(|stored| stored != shown && stored.0 >= row.fence);
        if stale && self.mutant != Some(Mutant::NoTargetFence) {
            drop(state);
            self.count("stale activations refused");
            return Switch::Stale;
        }
        target.ticket = Some(shown);
        let previous = target.active;
        target.active = to;
        let last = target.switches.last().copied();
        target.switches.push(shown);
        drop(state);
        self.note("switches", process.number(), row.id.0, row.fence);
        self.count("activations");
        if let Some((fence, id)) = last
            && (fence > row.fence || id > row.id)
        {
            self.violated(format!(
                "target {}: the release of deployment {} (fence {}) went over that of {id} ({fence})",
                row.target_id, row.id, row.fence
            ));
        }
        // That mutant has to be found by the order of the releases.
        if !self.lacks(Mutant::NoTargetFence) {
            self.judge_right(row);
        }
        Switch::Live { previous }
    }

    /// Whoever switches has to have the deployment still, by the database's word.
    fn judge_right(&self, row: &Model) {
        let cancelled = self.state().cancelled.get(&row.id).copied();
        if let Some(at) = cancelled {
            let ago = at.elapsed().as_millis();
            self.violated(format!(
                "deployment {} switched {ago} ms after it was cancelled",
                row.id
            ));
        }
        let current = format!(
            "SELECT 1 FROM deployments WHERE id = {} AND fence = {} AND status = 'running'",
            row.id.0, row.fence
        );
        if self.sqlite.look(&current).is_empty() {
            self.violated(format!(
                "deployment {} switched under fence {}, which had been taken from it",
                row.id, row.fence
            ));
        }
    }
}
