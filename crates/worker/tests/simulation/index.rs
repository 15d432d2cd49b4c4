//! A process's way to the dispatch index and to the bus, and what can go wrong on it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_core::{
    id::{DeploymentId, TargetId},
    ports::{
        Authority, Claimed, Enqueued, Entry, Event, EventBus, JobQueue, LeaseToken, Place,
        QueueError, Released, Subscription,
    },
};

use crate::{mutants::Mutant, process::Process, world::World};

/// The index as one process reaches it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
}

fn unavailable(text: &str) -> QueueError {
    QueueError::Unavailable(text.to_owned())
}

impl Link {
    async fn call<T>(
        &self,
        what: &'static str,
        operation: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        let (world, process) = (&self.world, &self.process);
        process.pass().await;
        world.dawdle(process).await;
        world.note(what, process.number(), 0, 0);
        if world.queue_is_away() {
            world.pause(world.dice.millis(50, 1500)).await;
            process.pass().await;
            return Err(unavailable("the queue is away"));
        }
        if world.goes_wrong(4) {
            return Err(unavailable("the connection broke before the command"));
        }
        let done = operation.await;
        if world.goes_wrong(8) {
            world.count("lost replies of the queue");
            return Err(unavailable("the connection broke before the reply"));
        }
        world.perhaps_struck(process);
        process.pass().await;
        world.dawdle(process).await;
        process.pass().await;
        done
    }

    /// A retry that does not hold its target, for the mutant.
    async fn retry_unheld(
        &self,
        entry: Entry,
        by: &Authority,
        delay: Duration,
    ) -> Result<Released, QueueError> {
        let released = self.world.queue.finish(entry, by).await?;
        let world = Arc::clone(&self.world);
        tokio::spawn(async move {
            world.pause(delay).await;
            let _lost_is_fine = world.queue.enqueue(entry, true).await;
        });
        Ok(released)
    }
}

#[async_trait]
impl JobQueue for Link {
    async fn enqueue_all(
        &self,
        entries: &[Entry],
        force: bool,
    ) -> Result<Vec<Enqueued>, QueueError> {
        self.call("enqueue", self.world.queue.enqueue_all(entries, force))
            .await
    }

    async fn claim_many(
        &self,
        tokens: &[LeaseToken],
        ttl: Duration,
        max_running: u32,
    ) -> Result<Vec<Claimed>, QueueError> {
        let claimed = self.world.queue.claim_many(tokens, ttl, max_running);
        self.call("claim", claimed).await
    }

    async fn finish_all(
        &self,
        entries: &[(Entry, Authority)],
    ) -> Result<Vec<Released>, QueueError> {
        self.call("finish", self.world.queue.finish_all(entries))
            .await
    }

    async fn retry(
        &self,
        entry: Entry,
        by: &Authority,
        delay: Duration,
    ) -> Result<Released, QueueError> {
        if self.world.lacks(Mutant::NoHoldNoOrder) {
            return self
                .call("retry", self.retry_unheld(entry, by, delay))
                .await;
        }
        self.call("retry", self.world.queue.retry(entry, by, delay))
            .await
    }

    async fn requeue(&self, entry: Entry, by: &Authority) -> Result<Released, QueueError> {
        self.call("requeue", self.world.queue.requeue(entry, by))
            .await
    }

    async fn hold(
        &self,
        entry: Entry,
        token: &LeaseToken,
        ttl: Duration,
    ) -> Result<(), QueueError> {
        self.call("hold", self.world.queue.hold(entry, token, ttl))
            .await
    }

    async fn renew(
        &self,
        leases: &[(DeploymentId, LeaseToken)],
        ttl: Duration,
    ) -> Result<Vec<DeploymentId>, QueueError> {
        self.call("renew", self.world.queue.renew(leases, ttl))
            .await
    }

    async fn repair(&self, target: TargetId) -> Result<bool, QueueError> {
        self.call("repair", self.world.queue.repair(target)).await
    }

    async fn places(
        &self,
        ids: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Place>, QueueError> {
        self.call("places", self.world.queue.places(ids)).await
    }

    async fn entries(&self, limit: usize) -> Result<Vec<Entry>, QueueError> {
        self.call("entries", self.world.queue.entries(limit)).await
    }

    async fn targets(&self) -> Result<Vec<TargetId>, QueueError> {
        self.call("targets", self.world.queue.targets()).await
    }

    async fn begin_rebuild(&self) -> Result<bool, QueueError> {
        self.call("begin rebuild", self.world.queue.begin_rebuild())
            .await
    }

    async fn restore(
        &self,
        entry: Entry,
        lease: Option<(&LeaseToken, Duration)>,
    ) -> Result<(), QueueError> {
        self.call("restore", self.world.queue.restore(entry, lease))
            .await
    }

    async fn end_rebuild(&self) -> Result<(), QueueError> {
        self.call("end rebuild", self.world.queue.end_rebuild())
            .await
    }

    async fn probe(&self) -> Result<(), QueueError> {
        self.call("probe", self.world.queue.probe()).await
    }

    async fn wait_for_work(&self, timeout: Duration) {
        self.process.pass().await;
        self.world.queue.wait_for_work(timeout).await;
        self.process.pass().await;
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        self.call("depth", self.world.queue.depth()).await
    }
}

#[async_trait]
impl EventBus for Link {
    async fn publish(&self, event: Event) {
        self.process.pass().await;
        if self.world.goes_wrong(100) {
            self.world.count("lost hints");
        } else {
            self.world.bus.publish(event).await;
        }
    }

    async fn subscribe(&self) -> Box<dyn Subscription> {
        self.world.bus.subscribe().await
    }
}
