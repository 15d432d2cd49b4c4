//! Recomputing a target's state from where its entries stand.

use slipway_core::id::{DeploymentId, TargetId};

use super::{Index, State};

impl Index {
    /// True if something was wrong.
    pub(in crate::memory) fn repair(&mut self, target: TargetId) -> bool {
        let right = self.rightful_state(target);
        let rounds = self
            .ready
            .iter()
            .filter(|listed| **listed == target)
            .count();
        let rounds_right = usize::from(right == Some(State::Ready));
        if self.states.get(&target).copied() == right && rounds == rounds_right {
            return false;
        }
        self.ready.retain(|listed| *listed != target);
        match right {
            Some(state) => self.states.insert(target, state),
            None => self.states.remove(&target),
        };
        if right == Some(State::Ready) {
            self.ready.push_back(target);
        }
        true
    }

    fn rightful_state(&self, target: TargetId) -> Option<State> {
        let state = self.states.get(&target).copied();
        let pick = |ids: Vec<DeploymentId>, holder: fn(DeploymentId) -> State| {
            let ours = ids
                .into_iter()
                .filter(|id| self.jobs.get(id) == Some(&target));
            let ours: Vec<State> = ours.map(holder).collect();
            let recorded = ours.iter().copied().find(|held| Some(*held) == state);
            recorded.or_else(|| ours.first().copied())
        };
        pick(self.leases.keys().copied().collect(), State::Busy)
            .or_else(|| pick(self.delayed.keys().copied().collect(), State::Held))
            .or_else(|| self.pending.contains_key(&target).then_some(State::Ready))
    }
}
