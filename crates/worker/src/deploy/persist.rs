//! Writing down what a run does, although the database may be away for a moment.

use std::time::Duration;

use slipway_core::error::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Wait before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Repeats `work` until it succeeds, the run is lost, or a whole lease has passed since it began. A
/// database that is away for so long has cost the run its lease; one that is there and still refuses
/// always will.
///
/// # Errors
/// The last failure.
pub(crate) async fn persist<T, F>(
    lease: Duration,
    lost: &CancellationToken,
    mut work: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if begun.elapsed() > lease {
            return Err(error);
        }
        tracing::warn!(error = ?error, "what a run does could not be written down yet");
        let paused = lost.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        if paused.is_none() {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use slipway_core::db::broken;

    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn write_that_fails_is_repeated() {
        let tries = Cell::new(0);
        let work = || async {
            tries.set(tries.get() + 1);
            if tries.get() < 2 {
                return Err(broken("away"));
            }
            Ok(tries.get())
        };
        let done = persist(LEASE, &CancellationToken::new(), work).await;
        assert_eq!(done.unwrap(), 2);
    }

    #[tokio::test]
    async fn lost_run_writes_once_and_then_no_more() {
        let (tries, lost) = (Cell::new(0), CancellationToken::new());
        lost.cancel();
        let work = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(broken("away"))
        };
        assert!(persist(LEASE, &lost, work).await.is_err());
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test]
    async fn write_that_never_works_is_given_up() {
        let work = || async { Err::<(), _>(broken("refused")) };
        let given_up = persist(Duration::ZERO, &CancellationToken::new(), work).await;
        assert!(given_up.is_err());
    }
}
