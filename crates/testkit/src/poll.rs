//! Waiting for something that another process or task will do.
//!
//! The only place in the tests where a pause is allowed. What is waited for is a condition, never
//! an amount of time: a slow machine makes these slower, not wrong.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use tokio::time;

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `probe` again and again until it answers `Ok`, and returns that.
///
/// # Panics
/// When `deadline` has passed; the message holds the last `Err`, which should be what was observed.
pub async fn eventually<T, E: Debug>(
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match time::timeout(left, probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(observed)) => last = Some(observed),
            Err(_) => panic!("the probe did not answer within {deadline:?}; last: {last:?}"),
        }
        assert!(
            Instant::now() < end,
            "not within {deadline:?}; last: {last:?}"
        );
        time::sleep(PAUSE).await;
    }
}

/// The same for code without a runtime.
///
/// # Panics
/// When `deadline` has passed.
#[track_caller]
pub fn eventually_blocking<T, E: Debug>(
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(observed) => {
                assert!(
                    Instant::now() < end,
                    "not within {deadline:?}; last: {observed:?}"
                );
            }
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn probe_is_repeated_until_it_answers() {
        let mut calls = 0;
        let value = eventually(Duration::from_secs(5), async || {
            calls += 1;
            if calls < 3 { Err(calls) } else { Ok("done") }
        })
        .await;
        assert_eq!((value, calls), ("done", 3));
    }

    #[tokio::test]
    #[should_panic(expected = "last: Some(\"still queued\")")]
    async fn passed_deadline_shows_what_was_last_observed() {
        eventually(Duration::from_millis(30), async || {
            Err::<(), _>("still queued")
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "the probe did not answer")]
    async fn hanging_probe_does_not_hang_the_test() {
        let hang = async || std::future::pending::<Result<(), ()>>().await;
        eventually(Duration::from_millis(30), hang).await;
    }

    #[test]
    #[should_panic(expected = "last: 404")]
    fn blocking_twin_shows_what_was_last_observed() {
        eventually_blocking(Duration::from_millis(30), || Err::<(), _>(404));
    }
}
