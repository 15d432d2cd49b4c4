//! How a project treats a new deployment while others of the same target wait, and how often it
//! tries again.

use crate::word::words;

use std::time::Duration;

use crate::settings;

words! {
    /// What happens to a new deployment while others of its target wait.
    QueuePolicy {
        /// It waits its turn.
        QueueAll = "queue_all",
        /// It takes the place of those that wait.
        KeepNewest = "keep_newest",
        /// It is refused.
        Reject = "reject",
    }
}

#[expect(clippy::derivable_impls, reason = "the enumeration comes from a macro")]
impl Default for QueuePolicy {
    fn default() -> Self {
        Self::QueueAll
    }
}

/// How often a deployment is run, and how long it waits between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most runs in all.
    pub attempts: u32,
    /// Waits after the first, second, ... failure; the last one repeats.
    pub delays_ms: Vec<u64>,
}

/// Most attempts that a project may ask for.
pub const ATTEMPTS_MAX: u32 = 10;
/// Longest wait that a project may ask for.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

impl RetryPolicy {
    /// What the configuration says, unless the project says otherwise.
    #[must_use]
    pub fn new(defaults: &settings::Queue, attempts: Option<i64>, delays: Option<&str>) -> Self {
        let own = delays.and_then(|text| serde_json::from_str::<Vec<u64>>(text).ok());
        Self {
            attempts: attempts
                .and_then(|attempts| u32::try_from(attempts).ok())
                .unwrap_or(defaults.retry_attempts),
            delays_ms: own.unwrap_or_else(|| defaults.retry_delays.clone()),
        }
    }

    /// The wait after this many charged runs have failed; none when that was the last one.
    #[must_use]
    pub fn delay_after(&self, attempt: i64) -> Option<u64> {
        let failed = usize::try_from(attempt).ok()?;
        if failed >= self.attempts as usize {
            return None;
        }
        let delays = &self.delays_ms;
        let delay = delays
            .get(failed.saturating_sub(1))
            .or_else(|| delays.last());
        Some(delay.copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_attempts_use_the_first_two_waits() {
        let policy = RetryPolicy {
            attempts: 3,
            delays_ms: vec![1000, 5000, 25_000],
        };
        let waits: Vec<_> = (1..=4).map(|attempt| policy.delay_after(attempt)).collect();
        assert_eq!(waits, [Some(1000), Some(5000), None, None]);
    }

    #[test]
    fn the_last_wait_repeats() {
        let policy = RetryPolicy {
            attempts: 5,
            delays_ms: vec![1, 2],
        };
        let waits: Vec<_> = (1..=5).map(|attempt| policy.delay_after(attempt)).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(2), Some(2), None]);
        let none = RetryPolicy {
            attempts: 2,
            delays_ms: vec![],
        };
        assert_eq!(none.delay_after(1), Some(0));
    }
}
