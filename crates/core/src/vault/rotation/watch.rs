//! Noticing new keys and a new active version while a process runs; system-only.

use super::{lacking, service::register, store};
use crate::{
    ctx::Ctx,
    db::{self, Transaction},
    error::Result,
    vault::load,
};

/// Loads keys that have come into the key folder. One that is no good, or has a version that is
/// another key's, is told in the log only: what is loaded goes on working.
pub async fn look_for_keys(ctx: &Ctx) {
    let found = match load::new_keys(&ctx.settings.security, &ctx.keys) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(error = %error, "a new master key cannot be loaded");
            return;
        }
    };
    for (version, ring) in found {
        match register(&ctx.db, &ring, version, db::now()).await {
            Ok(()) => {
                ctx.keys.adopt(ring);
                tracing::info!(version, "loaded a new master key");
            }
            Err(error) => {
                tracing::warn!(version, error = %error, "a new master key cannot be used");
            }
        }
    }
}

/// That the active key is loaded, asked where its change waits: whoever joins the processes in the
/// same transaction is seen by the next change, or sees the last one.
///
/// # Errors
/// When it is not loaded, or the database fails.
pub async fn require_active(tx: &Transaction, ctx: &Ctx) -> Result<()> {
    let active = store::lock_active(tx).await?;
    if ctx.keys.has(active) {
        Ok(())
    } else {
        Err(lacking(active))
    }
}
