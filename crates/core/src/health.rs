//! Whether new work can be taken: what the probe of the queue has found lately.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

/// Failures in a row after which the queue counts as unhealthy.
const FAILURES: u32 = 2;
/// Successes in a row after which it counts as healthy again.
const SUCCESSES: u32 = 2;

/// The queue's health, shared by everything in one process. Starts unhealthy: nothing is known.
#[derive(Clone, Debug, Default)]
pub struct QueueHealth(Arc<State>);

#[derive(Debug, Default)]
struct State {
    healthy: AtomicBool,
    was_probed: AtomicBool,
    streak: AtomicU32,
}

impl QueueHealth {
    /// Whether new work can be taken.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.healthy.load(Ordering::Relaxed)
    }

    /// Takes in the outcome of one probe. True if the verdict changed.
    pub fn record(&self, worked: bool) -> bool {
        let healthy = self.is_healthy();
        if worked == healthy {
            self.0.streak.store(0, Ordering::Relaxed);
            self.0.was_probed.store(true, Ordering::Relaxed);
            return false;
        }
        let first = !self.0.was_probed.swap(true, Ordering::Relaxed);
        let streak = self.0.streak.fetch_add(1, Ordering::Relaxed) + 1;
        let needed = if first {
            1
        } else if worked {
            SUCCESSES
        } else {
            FAILURES
        };
        if streak < needed {
            return false;
        }
        self.0.streak.store(0, Ordering::Relaxed);
        self.0.healthy.store(worked, Ordering::Relaxed);
        true
    }

    /// Takes in that a real command failed: no need to wait for the probe.
    pub fn note_failure(&self) {
        self.0.healthy.store(false, Ordering::Relaxed);
        self.0.streak.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_probe_is_forgiven_and_two_are_not() {
        let health = QueueHealth::default();
        assert!(!health.is_healthy());
        assert!(health.record(true), "the first probe decides at once");
        assert!(!health.record(false));
        assert!(!health.record(true));
        assert!(!health.record(false));
        assert!(health.is_healthy());
        assert!(health.record(false));
        assert!(!health.is_healthy());
        assert!(!health.record(true));
        assert!(health.record(true));
        assert!(health.is_healthy());
    }

    #[test]
    fn a_failed_command_counts_at_once() {
        let health = QueueHealth::default();
        health.record(true);
        health.note_failure();
        assert!(!health.is_healthy());
    }
}
