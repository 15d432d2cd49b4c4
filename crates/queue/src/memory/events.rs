//! The event bus within one process: a broadcast channel and nothing more.

use async_trait::async_trait;
use slipway_core::ports::{Event, EventBus, Received, Subscription};
use tokio::sync::broadcast::{self, error::RecvError};

/// Hints that one reader may fall behind by before it is told that it lost some.
pub(crate) const BACKLOG: usize = 4096;

/// An event bus that ends at the process's border.
#[derive(Debug)]
pub struct MemoryBus {
    sender: broadcast::Sender<Received>,
}

impl MemoryBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish(&self, event: Event) {
        // The only error is that nobody listens.
        let _ = self.sender.send(Received::Event(event));
    }

    async fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(Listener(self.sender.subscribe()))
    }
}

/// One subscriber of a broadcast channel; the Redis bus fans out through the same.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) broadcast::Receiver<Received>);

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Received {
        match self.0.recv().await {
            Ok(received) => received,
            Err(RecvError::Lagged(_)) => Received::Lagged,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
