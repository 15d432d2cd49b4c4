//! Parts that fail when the test wants it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use slipway_core::ports::{Event, EventBus, Subscription};

/// A bus that panics once.
#[derive(Debug)]
pub(crate) struct PanickingBus {
    inner: Arc<dyn EventBus>,
    until_panic: AtomicI64,
}

impl PanickingBus {
    pub(crate) fn around(inner: Arc<dyn EventBus>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            until_panic: AtomicI64::new(0),
        })
    }

    /// The event with this number from now on is the one.
    pub(crate) fn panic_at(&self, number: i64) {
        self.until_panic.store(number, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventBus for PanickingBus {
    async fn publish(&self, event: Event) {
        let left = self.until_panic.fetch_sub(1, Ordering::SeqCst);
        assert!(left != 1, "a fault that the test asked for");
        self.inner.publish(event).await;
    }

    async fn subscribe(&self) -> Box<dyn Subscription> {
        self.inner.subscribe().await
    }
}
