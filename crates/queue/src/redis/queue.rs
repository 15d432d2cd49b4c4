//! The dispatch index on Redis: each operation is one script, here is only its meaning in Rust.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use fred::types::Value;
use slipway_core::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
    ports::{
        Authority, Claimed, Enqueued, Entry, JobQueue, LeaseToken, PASSED_OVER_MAX, Place,
        QueueError, Released,
    },
};

use super::{
    answers::{added, claimed, entries, finished, place, released},
    client::{Clients, Link},
    error::ConnectError,
    scripts::{Runner, Scripts},
    wait::Waiter,
};
use crate::keys::Keys;

/// The longest that anything is put off by; it keeps the scripts' sums exact.
const FAR_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// Ids that one call looks at: a script holds up everybody else while it runs.
const BATCH: usize = 200;

/// The dispatch index that all processes share.
#[derive(Clone, Debug)]
pub(super) struct RedisQueue {
    runner: Runner,
    scripts: Arc<Scripts>,
    waiter: Arc<Waiter>,
    clients: Clients,
    keys: Keys,
    /// Whose rebuild lock it is.
    me: String,
    cap: usize,
}

impl RedisQueue {
    pub(super) fn new(
        link: Arc<Link>,
        clients: Clients,
        keys: Keys,
        cap: usize,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            runner: Runner::new(Arc::clone(&link), keys.for_scripts(), keys.pend()),
            scripts: Arc::new(Scripts::new()),
            waiter: Arc::new(Waiter::new(link, clients.clone(), keys.wake().clone())),
            clients,
            keys,
            me: random_text()?,
            cap,
        })
    }

    /// Deletes what is left of the old index, under the rebuild lock.
    async fn sweep(&self) -> Result<(), QueueError> {
        let mut cursor = "0".to_owned();
        loop {
            let args = [text(&self.me), text(&cursor), text(self.keys.everything())];
            let reply = self.runner.run(&self.scripts.sweep, args).await?;
            cursor = reply
                .words()
                .first()
                .ok_or_else(|| reply.unexpected())?
                .clone();
            if cursor == "0" {
                return Ok(());
            }
        }
    }
}

fn random_text() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

fn nonce() -> Result<String, QueueError> {
    random_text().map_err(|error| QueueError::Unavailable(error.to_string()))
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn id(id: DeploymentId) -> Value {
    Value::from(id.0)
}

fn target(id: TargetId) -> Value {
    Value::from(id.0)
}

fn rank(priority: Priority) -> Value {
    Value::from(u32::from(priority.rank()))
}

fn millis(duration: Duration) -> Value {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(FAR_MS);
    text(&millis.min(FAR_MS).to_string())
}

fn token_of(by: &Authority) -> Value {
    match by {
        Authority::Lease(token) => text(token.as_str()),
        Authority::Database => text("*"),
    }
}

#[async_trait]
impl JobQueue for RedisQueue {
    fn apart(&self) -> Option<Arc<dyn JobQueue>> {
        let client = match self.clients.for_commands() {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(%error, "a thread has no connection to Redis of its own");
                return None;
            }
        };
        Some(Arc::new(Self {
            runner: self.runner.over(Link::open(client)),
            ..self.clone()
        }))
    }

    async fn enqueue_all(
        &self,
        entries: &[Entry],
        force: bool,
    ) -> Result<Vec<Enqueued>, QueueError> {
        let mut all = Vec::with_capacity(entries.len());
        for some in entries.chunks(BATCH) {
            let mut args = vec![
                text(&self.cap.to_string()),
                text(if force { "1" } else { "0" }),
            ];
            args.extend(
                some.iter()
                    .flat_map(|entry| [id(entry.id), target(entry.target), rank(entry.priority)]),
            );
            let reply = self.runner.run(&self.scripts.enqueue, args).await?;
            all.extend(added(&reply, some.len())?);
        }
        Ok(all)
    }

    async fn claim_many(
        &self,
        tokens: &[LeaseToken],
        ttl: Duration,
        max_running: u32,
    ) -> Result<Vec<Claimed>, QueueError> {
        let rules = [
            millis(ttl),
            Value::from(max_running),
            Value::from(PASSED_OVER_MAX),
        ];
        let tokens_of = tokens.iter().map(|token| text(token.as_str()));
        let args = rules.into_iter().chain(tokens_of);
        claimed(
            &self.runner.run(&self.scripts.claim, args).await?,
            tokens.len(),
        )
    }

    async fn finish_all(
        &self,
        entries: &[(Entry, Authority)],
    ) -> Result<Vec<Released>, QueueError> {
        let mut all = Vec::with_capacity(entries.len());
        for some in entries.chunks(BATCH) {
            let each = some.iter();
            let args = each.flat_map(|(entry, by)| [id(entry.id), token_of(by)]);
            let args: Vec<Value> = args.collect();
            let reply = self.runner.run(&self.scripts.finish, args).await?;
            all.extend(finished(&reply, some.len())?);
        }
        Ok(all)
    }

    async fn retry(
        &self,
        entry: Entry,
        by: &Authority,
        delay: Duration,
    ) -> Result<Released, QueueError> {
        let args = [id(entry.id), token_of(by), millis(delay)];
        released(&self.runner.run(&self.scripts.retry, args).await?)
    }

    async fn requeue(&self, entry: Entry, by: &Authority) -> Result<Released, QueueError> {
        let args = [id(entry.id), token_of(by)];
        released(&self.runner.run(&self.scripts.requeue, args).await?)
    }

    async fn hold(
        &self,
        entry: Entry,
        token: &LeaseToken,
        ttl: Duration,
    ) -> Result<(), QueueError> {
        let token = text(token.as_str());
        let args = [
            id(entry.id),
            target(entry.target),
            rank(entry.priority),
            token,
            millis(ttl),
        ];
        self.runner.run(&self.scripts.hold, args).await?;
        Ok(())
    }

    async fn renew(
        &self,
        leases: &[(DeploymentId, LeaseToken)],
        ttl: Duration,
    ) -> Result<Vec<DeploymentId>, QueueError> {
        let mut lost = Vec::new();
        for batch in leases.chunks(BATCH) {
            let mut args = vec![millis(ttl)];
            args.extend(
                batch
                    .iter()
                    .flat_map(|(of, token)| [id(*of), text(token.as_str())]),
            );
            let reply = self.runner.run(&self.scripts.renew, args).await?;
            lost.extend(reply.numbers()?.into_iter().map(DeploymentId));
        }
        Ok(lost)
    }

    async fn repair(&self, of: TargetId) -> Result<bool, QueueError> {
        let reply = self.runner.run(&self.scripts.repair, [target(of)]).await?;
        Ok(reply.number(0)? == 1)
    }

    async fn places(
        &self,
        ids: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Place>, QueueError> {
        let mut places = HashMap::with_capacity(ids.len());
        for batch in ids.chunks(BATCH) {
            let args = batch.iter().copied().map(id);
            let reply = self.runner.run(&self.scripts.places, args).await?;
            for (of, word) in batch.iter().zip(reply.words()) {
                places.insert(*of, place(word).ok_or_else(|| reply.unexpected())?);
            }
        }
        Ok(places)
    }

    async fn entries(&self, limit: usize) -> Result<Vec<Entry>, QueueError> {
        let limit = text(&limit.min(crate::HARD_CAP).to_string());
        entries(&self.runner.run(&self.scripts.entries, [limit]).await?)
    }

    async fn targets(&self) -> Result<Vec<TargetId>, QueueError> {
        let reply = self.runner.run(&self.scripts.targets, []).await?;
        Ok(reply.numbers()?.into_iter().map(TargetId).collect())
    }

    async fn begin_rebuild(&self) -> Result<bool, QueueError> {
        let args = [text(&self.me)];
        let reply = self.runner.run(&self.scripts.begin_rebuild, args).await?;
        match reply.outcome() {
            "OK" => self.sweep().await.map(|()| true),
            "NO" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn restore(
        &self,
        entry: Entry,
        lease: Option<(&LeaseToken, Duration)>,
    ) -> Result<(), QueueError> {
        let (token, ttl) = lease.map_or(("", Duration::ZERO), |(t, ttl)| (t.as_str(), ttl));
        let (me, token) = (text(&self.me), text(token));
        let args = [
            me,
            id(entry.id),
            target(entry.target),
            rank(entry.priority),
            token,
            millis(ttl),
        ];
        self.runner.run(&self.scripts.restore, args).await?;
        Ok(())
    }

    async fn end_rebuild(&self) -> Result<(), QueueError> {
        let args = [text(&self.me), text(&nonce()?)];
        self.runner.run(&self.scripts.end_rebuild, args).await?;
        Ok(())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        self.runner
            .run(&self.scripts.probe, [text(&nonce()?)])
            .await?;
        Ok(())
    }

    async fn wait_for_work(&self, timeout: Duration) {
        self.waiter.wait(timeout).await;
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        let reply = self.runner.run(&self.scripts.depth, []).await?;
        Ok(reply.number(0)?.unsigned_abs())
    }
}
