//! Whose turn it is: the ready targets of each priority, and a share for those that are passed over.

use std::collections::VecDeque;

use slipway_core::{deployment::priority::Priority, id::TargetId, ports::PASSED_OVER_MAX};

/// The ready targets, in a round for each priority.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds([Round; Priority::ALL.len()]);

#[derive(Clone, Debug, Default)]
struct Round {
    targets: VecDeque<TargetId>,
    /// Claims in a row that went past this round while it had a target.
    passed: u32,
}

impl Rounds {
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|round| round.targets.is_empty())
    }

    pub(super) fn join(&mut self, target: TargetId, priority: Priority) {
        for (_, round) in self.each().filter(|(of, _)| *of == priority) {
            round.targets.push_back(target);
        }
    }

    pub(super) fn remove(&mut self, target: TargetId) {
        for round in &mut self.0 {
            round.targets.retain(|listed| *listed != target);
        }
    }

    /// Whether a target is listed once in this round and in no other; with none, nowhere.
    pub(super) fn holds_only_in(&mut self, target: TargetId, priority: Option<Priority>) -> bool {
        self.each().all(|(of, round)| {
            let listed = round.targets.iter().filter(|listed| **listed == target);
            listed.count() == usize::from(Some(of) == priority)
        })
    }

    /// Takes out the target whose turn it is.
    pub(super) fn next(&mut self) -> Option<(TargetId, Priority)> {
        let mut turn: Option<(Priority, &mut Round)> = None;
        for (priority, round) in self.each().filter(|(_, round)| !round.targets.is_empty()) {
            let before = turn.as_ref().map(|(_, round)| round.passed);
            let is_due = round.passed >= PASSED_OVER_MAX;
            if before.is_none_or(|before| is_due && round.passed > before) {
                turn = Some((priority, round));
            }
        }
        let Some((priority, round)) = turn else {
            // Nobody is passed over while nobody waits.
            *self = Self::default();
            return None;
        };
        Some((round.targets.pop_front()?, priority))
    }

    /// Counts a claim of this priority as one that went past every lower one that waits.
    pub(super) fn pass_over(&mut self, taken: Priority) {
        for (priority, round) in self.each() {
            if priority == taken {
                round.passed = 0;
            } else if priority > taken && !round.targets.is_empty() {
                round.passed += 1;
            }
        }
    }

    fn each(&mut self) -> impl Iterator<Item = (Priority, &mut Round)> {
        Priority::ALL.into_iter().zip(&mut self.0)
    }
}
