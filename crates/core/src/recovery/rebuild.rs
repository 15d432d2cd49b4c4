//! Filling an index that has lost its data: rows in the order of the queue, then the mark that lets
//! claims work again.

use crate::{
    ctx::Ctx,
    deployment::{status::Status, store},
    error::Result,
    fail,
    id::DeploymentId,
    ports::Authority,
};

/// Rows that are read at once.
const PAGE: u64 = 500;

/// What became of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// The index holds this many entries now.
    Done(u64),
    /// Another process is at it.
    Elsewhere,
}

/// Rebuilds the index from the database.
///
/// # Errors
/// When the database or the queue fails; the next run begins anew.
pub async fn run_once(ctx: &Ctx) -> Result<Rebuilt> {
    if !ctx.queue.begin_rebuild().await? {
        return Ok(Rebuilt::Elsewhere);
    }
    let mut after = DeploymentId(0);
    let mut restored = 0;
    let mut delayed = Vec::new();
    loop {
        let rows = store::open::open_rows(ctx.db.writer(), after, PAGE).await?;
        let Some(last) = rows.last() else {
            break;
        };
        after = last.id;
        for row in &rows {
            let lease = row.lease_left();
            // A running row without a live lease is the reaper's; until then it blocks its target.
            let lease = lease.as_ref().map(|(token, left)| (token, *left));
            if row.status == Status::Queued || lease.is_some() {
                ctx.queue.restore(row.entry(), lease).await?;
                restored += 1;
                fail::point("rebuild.between_rows");
            }
            if let Some(delay) = row.delay_left().filter(|_| row.status == Status::Queued) {
                delayed.push((row.entry(), delay));
            }
        }
    }
    fail::point("rebuild.before_epoch");
    ctx.queue.end_rebuild().await?;
    fail::point("rebuild.after_epoch");
    // Only now does the index take this. A worker that is faster learns the delay from the row.
    for (entry, delay) in delayed {
        ctx.queue.retry(entry, &Authority::Database, delay).await?;
    }
    tracing::info!(
        entries = restored,
        "the queue was rebuilt from the database"
    );
    let rebuilt = Rebuilt::Done(restored);
    ctx.process.counters.rebuilt(rebuilt);
    Ok(rebuilt)
}
