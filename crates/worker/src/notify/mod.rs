//! Sending what the outbox holds: each channel on its own, beside the deployments and never before
//! them.
//!
//! A message is claimed, sent and recorded; whichever of these is cut short, the channel's lease runs
//! out and another sender takes it. When to try again, and which circuits are open, is the database's
//! to say, so that all workers agree.

mod attempt;
mod slots;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_core::{ctx::Ctx, id::ChannelId, notify::outbox::queue};
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use slots::Slots;

/// How often the outbox is looked at when nothing in this process has said that there is more.
const POLL: Duration = Duration::from_secs(1);
/// How long those that are under way are waited for when the worker stops.
const PATIENCE: Duration = Duration::from_secs(5);
/// Database connections that sending uses at once: deployments come first.
const CONNECTIONS: usize = 2;

/// One worker's sender. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Sender {
    ctx: Ctx,
    slots: Slots,
    database: Arc<Semaphore>,
    busy: Arc<Mutex<HashSet<ChannelId>>>,
    sends: TaskTracker,
    stop: CancellationToken,
}

impl Sender {
    /// A sender that sends as many messages at once as the settings say.
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        let at_once = ctx.settings.notifications.send_concurrency;
        Self {
            ctx: ctx.clone(),
            slots: Slots::new(at_once as usize),
            database: Arc::new(Semaphore::new(CONNECTIONS)),
            busy: Arc::default(),
            sends: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Sends what is due until it is stopped.
    pub async fn run(&self) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::warn!(error = ?error, "looking for messages to send failed");
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = self.ctx.outbox.notified() => {}
                () = sleep(POLL) => {}
            }
        }
    }

    /// Takes nothing more and waits a little for what is under way; the rest keeps its leases.
    pub async fn end(&self) {
        self.stop.cancel();
        self.sends.close();
        let waited = tokio::time::timeout(PATIENCE, self.sends.wait()).await;
        if waited.is_err() {
            tracing::warn!(
                messages = self.sends.len(),
                "messages that were being sent are left to other workers"
            );
        }
    }

    /// Starts what is due and has room.
    async fn look(&self) -> slipway_core::error::Result<()> {
        let due = {
            let _turn = self.database.acquire().await;
            queue::due(self.ctx.db.reader(), self.slots.asked()).await?
        };
        for (channel, is_failing) in due {
            if self.is_busy(channel) {
                continue;
            }
            let Some(slot) = self.slots.take(is_failing) else {
                continue;
            };
            self.set_busy(channel, true);
            let own = self.clone();
            self.sends.spawn(async move {
                own.serve(channel, slot).await;
                own.set_busy(channel, false);
            });
        }
        Ok(())
    }

    fn is_busy(&self, channel: ChannelId) -> bool {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.contains(&channel)
    }

    fn set_busy(&self, channel: ChannelId, is_busy: bool) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if is_busy {
            busy.insert(channel);
        } else {
            busy.remove(&channel);
        }
    }
}
