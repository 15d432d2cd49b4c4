//! Where a delivery stands, and when it is tried again: pure.

use std::time::Duration;

use crate::word::words;

words! {
    /// Where a delivery stands.
    State {
        /// It waits for its time.
        Pending = "pending",
        /// A worker is at it, or was when it died.
        Sending = "sending",
        /// The service has taken it.
        Delivered = "delivered",
        /// It could not be delivered, and is not tried again by itself.
        Failed = "failed",
        /// It was told with a later message of the same.
        Folded = "folded",
        /// Its channel or provider was switched off before it was sent.
        Dropped = "dropped",
    }
}

impl State {
    /// Whether it only changes when somebody asks.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Sending)
    }
}

/// Waits after the first attempts; the last one repeats.
const WAITS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
    Duration::from_secs(3600),
];

/// How long a message is tried.
pub const TRIED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long a message waits at most, whether it could be tried or not: more than [`TRIED_FOR`], so that
/// one is left time for its last attempts.
pub const WAITS_FOR: Duration = Duration::from_secs(36 * 3600);

/// The longest that a service is left alone because it asked for that.
const ASKED_MAX: Duration = Duration::from_secs(6 * 3600);

/// Attempts in which a message keeps those behind it waiting, so that they arrive in order; then it may
/// be that only this one cannot be delivered.
pub const IN_ORDER: i64 = 3;

/// How long to wait after so many attempts. `jitter` is from 0 to 255.
#[must_use]
pub fn wait_after(tries: i64, asked: Option<Duration>, jitter: u8) -> Duration {
    let index = usize::try_from(tries - 1).unwrap_or_default();
    let wait = WAITS.get(index).or(WAITS.last()).copied();
    let wait = wait.unwrap_or_default();
    // Up to a quarter more, so that what failed together is not tried together.
    let spread = wait.mul_f64(1.0 + f64::from(jitter) / 1020.0);
    spread.max(asked.unwrap_or_default().min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_within_a_day() {
        let mut sum = Duration::ZERO;
        let mut tries = 0;
        while sum < TRIED_FOR {
            tries += 1;
            let wait = wait_after(tries, None, 0);
            assert!(wait >= wait_after(tries - 1, None, 0));
            sum += wait;
        }
        assert!((20..40).contains(&tries), "{tries}");
        assert_eq!(wait_after(1, None, 255), Duration::from_millis(6250));
    }

    #[test]
    fn service_is_left_alone_as_long_as_it_asks_within_reason() {
        let asked = |seconds| wait_after(1, Some(Duration::from_secs(seconds)), 0).as_secs();
        assert_eq!([asked(1), asked(60), asked(u64::MAX)], [5, 60, 21_600]);
    }
}
