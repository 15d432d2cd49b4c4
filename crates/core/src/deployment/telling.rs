//! What the dispatch index is told by many at the same time: new deployments, and those that have
//! ended. They share its calls. It asks nobody for permission: system-only.

use std::{sync::Arc, time::Duration};

use super::batches::LOOK_UPS;
use crate::{
    db::all_failed,
    error::{Error, Result},
    gather::Gather,
    ports::{Authority, Enqueued, Entry, JobQueue, QueueError, Released},
};

/// How long anybody waits, though others may have to be told first.
const PATIENCE: Duration = Duration::from_millis(1500);

/// One process's, or one thread's. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Telling {
    added: Gather<Entry, Enqueued>,
    ended: Gather<(Entry, Authority), Released>,
}

impl Telling {
    /// Over the connections of this index.
    #[must_use]
    pub fn new(queue: &Arc<dyn JobQueue>) -> Self {
        Self {
            added: together(queue, |queue, entries: Vec<Entry>| async move {
                queue.enqueue_all(&entries, false).await
            }),
            ended: together(queue, |queue, ends: Vec<(Entry, Authority)>| async move {
                queue.finish_all(&ends).await
            }),
        }
    }

    /// Adds a new deployment.
    ///
    /// # Errors
    /// [`Error::QueueUnavailable`], also when it has not been told yet but will be; [`Error::Busy`]
    /// when too many wait.
    pub async fn add(&self, entry: Entry) -> Result<Enqueued> {
        patiently(self.added.ask(entry)).await
    }

    /// Takes out one that has ended.
    ///
    /// # Errors
    /// Those of [`Self::add`].
    pub async fn finish(&self, entry: Entry, by: Authority) -> Result<Released> {
        patiently(self.ended.ask((entry, by))).await
    }
}

async fn patiently<T>(telling: impl Future<Output = Result<T>>) -> Result<T> {
    let told = tokio::time::timeout(PATIENCE, telling).await;
    told.unwrap_or(Err(Error::QueueUnavailable))
}

fn together<K, V, F>(
    queue: &Arc<dyn JobQueue>,
    tell: impl Fn(Arc<dyn JobQueue>, Vec<K>) -> F + Send + Sync + 'static,
) -> Gather<K, V>
where
    K: Send + 'static,
    V: Send + 'static,
    F: Future<Output = Result<Vec<V>, QueueError>> + Send + 'static,
{
    let queue = Arc::clone(queue);
    Gather::new(LOOK_UPS, move |things: Vec<K>| {
        let count = things.len();
        let told = tell(Arc::clone(&queue), things);
        Box::pin(async move {
            match told.await {
                Ok(answers) => answers.into_iter().map(Ok).collect(),
                Err(error) => {
                    tracing::warn!(error = %error, entries = count, "the queue took nothing");
                    all_failed(error.into(), count)
                }
            }
        })
    })
}
