//! The one reader of a watched deployment. Hints from the bus wake it; a slow poll makes up for
//! hints that were lost.

use std::{sync::Arc, time::Duration};

use slipway_core::{
    ctx::Ctx,
    deployment::{service::LOG_ROWS, store},
    error::Result,
    id::DeploymentId,
    ports::{Event, Received, Subscription},
};
use tokio::{sync::broadcast, time::timeout};

use super::{News, Tails};

/// Longest time between two looks at the database.
const POLL: Duration = Duration::from_secs(2);
/// Hints that come within this time are answered with one look.
const GATHER: Duration = Duration::from_millis(20);

/// Follows one deployment until nobody watches it.
pub(super) async fn run(tails: Tails, id: DeploymentId, news: broadcast::Sender<News>) {
    let mut hints = tails.ctx.bus.subscribe().await;
    let mut position = Position {
        line: None,
        state: None,
    };
    while !(news.receiver_count() == 0 && tails.close(id)) {
        if let Err(error) = position.advance(&tails.ctx, id, &news).await {
            tracing::warn!(deployment.id = id.0, error = ?error, "following a deployment failed");
        }
        // Without a hint in time it looks all the same.
        let _late = timeout(POLL, hint(hints.as_mut(), id)).await;
    }
}

/// Waits for a hint about this deployment, and for those that come right after it.
async fn hint(hints: &mut dyn Subscription, id: DeploymentId) {
    loop {
        match hints.next().await {
            Received::Event(Event::Log(about, _) | Event::Changed(about)) if about != id => {}
            Received::Event(Event::Cancel(_)) => {}
            Received::Event(_) | Received::Lagged => break,
        }
    }
    tokio::time::sleep(GATHER).await;
}

/// What was sent already.
struct Position {
    line: Option<i64>,
    state: Option<String>,
}

impl Position {
    async fn advance(
        &mut self,
        ctx: &Ctx,
        id: DeploymentId,
        news: &broadcast::Sender<News>,
    ) -> Result<()> {
        let conn = ctx.db.reader();
        // Viewers read the past themselves; the follower begins at the end.
        let mut line = match self.line {
            Some(line) => line,
            None => store::log::last_line(conn, id).await?,
        };
        loop {
            self.line = Some(line);
            let lines = store::log::read_after(conn, id, line, LOG_ROWS).await?;
            let Some(last) = lines.last().map(|line| line.number) else {
                break;
            };
            line = last;
            // An error means that nobody watches just now.
            let _unwatched = news.send(News::Lines(Arc::new(lines)));
        }
        let state = fingerprint(ctx, id).await?;
        if self.state.as_ref() != Some(&state) {
            self.state = Some(state);
            let _unwatched = news.send(News::Changed);
        }
        Ok(())
    }
}

/// Everything whose change a viewer wants to hear of, in one comparable text.
async fn fingerprint(ctx: &Ctx, id: DeploymentId) -> Result<String> {
    let conn = ctx.db.reader();
    let Some(row) = store::read::find(conn, id).await? else {
        return Ok("gone".to_owned());
    };
    let steps = store::step::list(conn, id).await?;
    let steps: Vec<_> = steps.iter().map(|step| (step.id, step.status)).collect();
    let cancel = row.cancel_requested_at;
    Ok(format!(
        "{:?} {:?} {} {cancel:?} {steps:?}",
        row.status, row.commit_id, row.fence
    ))
}
