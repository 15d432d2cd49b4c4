//! Saying that this process lives, until it ends.

use std::time::Duration;

use super::{entity::ProcessKind, store};
use crate::ctx::Ctx;

/// How long a process that is gone without a word is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Tells the others now. A failure is told in the log only: the next time may work.
pub async fn announce(ctx: &Ctx, kind: ProcessKind) {
    let told = store::announce(ctx.db.writer(), &ctx.process, kind, &ctx.settings).await;
    if let Err(error) = told {
        tracing::warn!(error = ?error, "this process could not say that it lives");
    }
}

/// Tells the others again and again, and at once when something changes.
pub async fn run(ctx: Ctx, kind: ProcessKind) {
    loop {
        let pause = tokio::time::sleep(interval(ctx.settings.queue.lease()));
        tokio::select! {
            () = pause => {}
            () = ctx.process.changed() => {}
        }
        announce(&ctx, kind).await;
    }
}

/// Takes leave of the others.
pub async fn leave(ctx: &Ctx) {
    if let Err(error) = store::remove(ctx.db.writer(), &ctx.process.name).await {
        tracing::warn!(error = ?error, "this process could not say that it ends");
    }
}

/// Often enough that one lost word is no sign of death.
fn interval(lease: Duration) -> Duration {
    lease / 6
}
