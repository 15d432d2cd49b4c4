//! Taking runs back at once from workers of this machine that are certainly dead: the former starts
//! of this one, and those that share its folder. Everybody else's wait for the end of their leases.

use std::path::Path;

use slipway_core::{ctx::Ctx, db, deployment::store::claim::owned, recovery::reaper};

use crate::instance::{self, Over};

/// Looks once at every worker of the folder that is over. `own` are this one's processes.
pub(crate) async fn look_after(ctx: &Ctx, dir: &Path, own: Vec<u32>) {
    let folder = dir.to_owned();
    let over = match tokio::task::spawn_blocking(move || instance::over(&folder, &own)).await {
        Ok(Ok(over)) => over,
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "former workers could not be looked at");
            return;
        }
        Err(panicked) => {
            tracing::error!(error = ?panicked, "looking at former workers panicked");
            return;
        }
    };
    for over in over {
        let name = over.name.clone();
        if let Err(error) = settle(ctx, over).await {
            tracing::warn!(worker = name, error = ?error, "a former worker was not settled yet");
        }
    }
}

/// Its file goes once the database knows of nothing that it runs.
async fn settle(ctx: &Ctx, over: Over) -> anyhow::Result<()> {
    if over.all_dead {
        let taken = reaper::take_back_from(ctx, &over.name, db::now()).await?;
        if taken > 0 {
            tracing::info!(worker = over.name, taken, "took over from a dead worker");
        }
    }
    if owned(ctx.db.writer(), &over.name).await?.is_empty() {
        over.forget()?;
    }
    Ok(())
}
