//! Recomputing a target's state from where its entries stand.

use slipway_core::id::{DeploymentId, TargetId};

use super::{Index, State};

impl Index {
    /// True if something was wrong.
    pub(in crate::memory) fn repair(&mut self, target: TargetId) -> bool {
        let right = self.rightful_state(target);
        let rightful_round = match right {
            Some(State::Ready(priority)) => Some(priority),
            Some(State::Busy(_) | State::Held(_)) | None => None,
        };
        if self.states.get(&target).copied() == right
            && self.ready.holds_only_in(target, rightful_round)
        {
            return false;
        }
        self.ready.remove(target);
        match right {
            Some(state) => self.states.insert(target, state),
            None => self.states.remove(&target),
        };
        if let Some(priority) = rightful_round {
            self.ready.join(target, priority);
        }
        true
    }

    fn rightful_state(&self, target: TargetId) -> Option<State> {
        let state = self.states.get(&target).copied();
        let pick = |ids: Vec<DeploymentId>, holder: fn(DeploymentId) -> State| {
            let ours = ids
                .into_iter()
                .filter(|id| self.jobs.get(id).is_some_and(|(of, _)| *of == target));
            let ours: Vec<State> = ours.map(holder).collect();
            let recorded = ours.iter().copied().find(|held| Some(*held) == state);
            recorded.or_else(|| ours.first().copied())
        };
        pick(self.leases.keys().copied().collect(), State::Busy)
            .or_else(|| pick(self.delayed.keys().copied().collect(), State::Held))
            .or_else(|| self.ready_state(target))
    }
}
