//! Saying that this process lives, until it ends.

use std::time::Duration;

use super::{entity::ProcessKind, store};
use crate::{ctx::Ctx, db, error::Result, vault::rotation};

/// How long a process that is gone without a word is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Joins the others, unless this process lacks the active master key: the next one is not activated
/// before everybody who has joined has it.
///
/// # Errors
/// When it lacks the key, or the database fails.
pub async fn join(ctx: &Ctx, kind: ProcessKind) -> Result<()> {
    let tx = ctx.db.begin().await?;
    rotation::watch::require_active(&tx, ctx).await?;
    store::join(&tx, (&ctx.process, kind), &ctx.settings, &ctx.keys).await?;
    tx.commit().await?;
    Ok(())
}

/// Tells the others now. A failure is told in the log only: the next time may work.
pub async fn announce(ctx: &Ctx, kind: ProcessKind) {
    rotation::watch::look_for_keys(ctx).await;
    let told = async {
        if store::announce(ctx.db.writer(), &ctx.process, &ctx.keys).await? {
            return Ok(());
        }
        db::retried(|| join(ctx, kind)).await
    };
    if let Err(error) = told.await {
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
