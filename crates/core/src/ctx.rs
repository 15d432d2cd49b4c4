//! The state of one process, built once and handed to every use case.

use std::sync::Arc;

use crate::{
    account::{
        password::Passwords,
        store::{KnownToken, find_tokens},
    },
    db::{self, Db},
    deployment::{
        admission::Admission,
        store::scene::{self, Question, Scene},
    },
    error::Result,
    gather::{Gather, Limits},
    health::QueueHealth,
    ports::{EventBus, JobQueue},
    process::me::Process,
    settings::Settings,
    vault::ring::KeyRing,
};

/// Everything that use cases need. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// The truth.
    pub db: Db,
    /// The dispatch index.
    pub queue: Arc<dyn JobQueue>,
    /// Live hints.
    pub bus: Arc<dyn EventBus>,
    /// This process, as the others see it.
    pub process: Arc<Process>,
    /// Whether new work can be taken.
    pub health: QueueHealth,
    /// Master keys.
    pub keys: Arc<KeyRing>,
    /// Password hashing, a few at a time.
    pub passwords: Arc<Passwords>,
    /// The door for new deployments.
    pub admission: Admission,
    /// Where requests want to deploy, looked up together.
    pub scenes: Gather<Question, Option<Scene>>,
    /// Whose API tokens requests carry, looked up together.
    pub tokens: Gather<String, Option<KnownToken>>,
    /// The configuration.
    pub settings: Arc<Settings>,
}

impl Ctx {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        db: Db,
        queue: Arc<dyn JobQueue>,
        bus: Arc<dyn EventBus>,
        keys: KeyRing,
        settings: Settings,
    ) -> Self {
        Self {
            admission: Admission::new(db.clone(), settings.queue.backlog_limit),
            scenes: together(&db, |db, questions: Vec<Question>| async move {
                scene::find(db.reader(), &questions).await
            }),
            tokens: together(&db, |db, hashes: Vec<String>| async move {
                find_tokens(db.reader(), &hashes).await
            }),
            db,
            queue,
            bus,
            process: Arc::new(Process::new()),
            health: QueueHealth::default(),
            keys: Arc::new(keys),
            passwords: Arc::new(Passwords::new()),
            settings: Arc::new(settings),
        }
    }
}

/// How many look-ups share one query, and how many wait for theirs.
const LOOK_UPS: Limits = Limits {
    batch: 64,
    waiting: 4096,
};

/// Look-ups that share one query when they are asked for at the same time.
fn together<K, V, F>(
    db: &Db,
    find: impl Fn(Db, Vec<K>) -> F + Send + Sync + 'static,
) -> Gather<K, V>
where
    K: Send + 'static,
    V: Send + 'static,
    F: Future<Output = Result<Vec<V>>> + Send + 'static,
{
    let db = db.clone();
    Gather::new(LOOK_UPS, move |questions: Vec<K>| {
        let asked = questions.len();
        let found = find(db.clone(), questions);
        Box::pin(async move {
            match found.await {
                Ok(found) => found.into_iter().map(Ok).collect(),
                Err(error) => {
                    tracing::error!(error = ?error, questions = asked, "a look-up failed");
                    let failed = || db::broken(format!("a look-up failed: {error}"));
                    (0..asked).map(|_| Err(failed())).collect()
                }
            }
        })
    })
}
