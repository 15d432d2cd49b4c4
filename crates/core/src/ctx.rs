//! The state of one process, built once and handed to every use case.

use std::sync::Arc;

use crate::{
    account::password::Passwords,
    db::Db,
    deployment::admission::Admission,
    health::QueueHealth,
    ports::{EventBus, JobQueue},
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
    /// Whether new work can be taken.
    pub health: QueueHealth,
    /// Master keys.
    pub keys: Arc<KeyRing>,
    /// Password hashing, a few at a time.
    pub passwords: Arc<Passwords>,
    /// The door for new deployments.
    pub admission: Admission,
    /// The configuration.
    pub settings: Arc<Settings>,
}

impl Ctx {
    /// Puts the parts together. Starts the admission task, so it must run inside the runtime.
    #[must_use]
    pub fn new(
        db: Db,
        queue: Arc<dyn JobQueue>,
        bus: Arc<dyn EventBus>,
        keys: KeyRing,
        settings: Settings,
    ) -> Self {
        Self {
            admission: Admission::start(db.clone(), settings.queue.backlog_limit),
            db,
            queue,
            bus,
            health: QueueHealth::default(),
            keys: Arc::new(keys),
            passwords: Arc::new(Passwords::new()),
            settings: Arc::new(settings),
        }
    }
}
