//! The state of one process, built once and handed to every use case.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    account::{
        password::Passwords,
        store::{KnownToken, find_tokens},
        throttle::Addresses,
    },
    audit::trail::Trail,
    db::{self, Db},
    deployment::{
        admission::Admission,
        batches::{Batches, LOOK_UPS},
        store::premise::Premises,
        telling::Telling,
    },
    gather::Gather,
    health::QueueHealth,
    notify::Registry,
    ports::{EventBus, JobQueue},
    process::me::Process,
    settings::Settings,
    vault::{
        ring::KeyRing,
        usage::{self, Use},
    },
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
    /// Attempts to sign in, by address.
    pub addresses: Arc<Addresses>,
    /// Password hashing, a few at a time.
    pub passwords: Arc<Passwords>,
    /// The door for new deployments.
    pub admission: Admission,
    /// Who changed what.
    pub audit: Trail,
    /// Whose API tokens requests carry, looked up together.
    pub tokens: Gather<String, Option<KnownToken>>,
    /// What earlier requests were decided on.
    pub premises: Premises,
    /// What requests and runs read and write together.
    pub batches: Batches,
    /// What the index is told by many at the same time.
    pub telling: Telling,
    /// What runs were given of the vault, written together.
    pub uses: Gather<Use, ()>,
    /// Services that carry messages.
    pub providers: Registry,
    /// Woken when this process has written something that is to be sent.
    pub outbox: Arc<Notify>,
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
        let keys = Arc::new(keys);
        let audit = Trail::new(&db, &keys);
        Self {
            uses: usage::gathered(&db, &audit),
            admission: Admission::new(&db, settings.queue.backlog_limit, audit.clone()),
            tokens: tokens(&db),
            premises: Premises::default(),
            batches: Batches::new(&db, &settings.queue),
            telling: Telling::new(&queue),
            audit,
            db,
            queue,
            bus,
            process: Arc::new(Process::new()),
            health: QueueHealth::default(),
            keys,
            addresses: Arc::default(),
            passwords: Arc::new(Passwords::new()),
            providers: Registry::default(),
            outbox: Arc::default(),
            settings: Arc::new(settings),
        }
    }

    /// The same with services that carry messages.
    #[must_use]
    pub fn with_providers(self, providers: Registry) -> Self {
        Self { providers, ..self }
    }

    /// The same process's state for one of so many threads that each have a runtime of their own.
    #[must_use]
    pub fn apart(&self, threads: usize) -> Self {
        let db = self.db.apart(threads);
        let queue = self.queue.apart();
        let queue = queue.unwrap_or_else(|| Arc::clone(&self.queue));
        Self {
            admission: self.admission.apart(&db),
            tokens: tokens(&db),
            batches: Batches::new(&db, &self.settings.queue),
            telling: Telling::new(&queue),
            queue,
            db,
            ..self.clone()
        }
    }
}

fn tokens(db: &Db) -> Gather<String, Option<KnownToken>> {
    db::together(db, LOOK_UPS, |db, hashes: Vec<String>| async move {
        find_tokens(db.reader(), &hashes).await
    })
}
