//! Writing down what a run does, although the database may be away for a moment.

use std::time::{Duration, Instant};

use slipway_core::{ctx::Ctx, error::Result};
use tokio_util::sync::CancellationToken;

/// Wait before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Repeats `work` until it succeeds, the run is lost, or a whole lease has passed. A database that is
/// away for so long has cost the run its lease; one that is there and still refuses always will.
///
/// # Errors
/// The last failure.
pub(crate) async fn persist<T, F>(
    ctx: &Ctx,
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
        if begun.elapsed() > ctx.settings.queue.lease() {
            return Err(error);
        }
        tracing::warn!(error = ?error, "what a run does could not be written down yet");
        let paused = lost.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        if paused.is_none() {
            return Err(error);
        }
    }
}
