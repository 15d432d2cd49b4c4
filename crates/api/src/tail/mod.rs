//! Following deployments live: one reader of the database for each deployment that somebody
//! watches, however many watch it.

mod follower;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use slipway_core::{ctx::Ctx, deployment::line::LogLine, id::DeploymentId};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::watch::Watch;

/// Pieces that a slow viewer may fall behind before it has to reread.
const BACKLOG: usize = 64;

/// Something new about a deployment.
#[derive(Clone, Debug)]
pub enum News {
    /// These lines followed.
    Lines(Arc<Vec<LogLine>>),
    /// Its status or steps changed: read them again.
    Changed,
}

/// The deployments that somebody watches right now.
#[derive(Clone, Debug)]
pub struct Tails {
    ctx: Ctx,
    stop: CancellationToken,
    access: Watch,
    open: Arc<Mutex<HashMap<DeploymentId, broadcast::Sender<News>>>>,
}

impl Tails {
    /// Nobody watches yet. `stop` ends every stream when the server stops.
    #[must_use]
    pub fn new(ctx: Ctx, stop: CancellationToken) -> Self {
        Self {
            access: Watch::new(ctx.clone(), &stop),
            ctx,
            stop,
            open: Arc::default(),
        }
    }

    /// Ends when the server stops.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Who may go on watching.
    #[must_use]
    pub fn access(&self) -> &Watch {
        &self.access
    }

    /// Starts to watch. What happens after this call returns is received.
    #[must_use]
    pub fn watch(&self, id: DeploymentId) -> broadcast::Receiver<News> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = open.get(&id) {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BACKLOG);
        open.insert(id, sender.clone());
        let follow = follower::run(self.clone(), id, sender);
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(follow));
        receiver
    }

    /// Forgets a deployment that nobody watches any more; false if somebody still does.
    fn close(&self, id: DeploymentId) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = open
            .get(&id)
            .is_none_or(|sender| sender.receiver_count() == 0);
        if is_idle {
            open.remove(&id);
        }
        is_idle
    }
}
