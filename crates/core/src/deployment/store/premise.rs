//! What a request was decided on, remembered from an earlier one. It still holds while nothing is
//! counted as a change; `gate` compares that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::scene::{Known, Question, Scene};
use crate::{
    account::store::KnownToken,
    deployment::status::Status,
    notify::outbox::deployment::{mask, requested},
    project::policy::QueuePolicy,
};

/// Most questions that are remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 4096;

/// How long anything is remembered. What somebody writes into the database by hand is not counted,
/// and is seen after that at the latest.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// What a request was decided on.
#[derive(Clone, Debug)]
pub struct Premise {
    /// The token and its owner.
    pub token: KnownToken,
    /// The project, the owner's role in it, and the target.
    pub scene: Scene,
    /// How often anything like it had changed before that was read.
    pub revision: i64,
    read_at: Instant,
}

impl Premise {
    /// Nothing for what a transaction that only compares the revision could not accept.
    #[must_use]
    pub fn new(known: &Known, read_at: Instant) -> Option<Self> {
        let (token, scene) = known.token.as_ref().zip(known.scene.as_ref())?;
        scene.target_id?;
        let is_heard = scene.told & mask(&requested(Status::Queued)) != 0;
        let is_plain = scene.queue_policy == QueuePolicy::QueueAll && scene.locks == 0 && !is_heard;
        is_plain.then(|| Self {
            token: token.clone(),
            scene: scene.clone(),
            revision: known.revision,
            read_at,
        })
    }
}

/// What this process remembers. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub struct Premises(Arc<Mutex<HashMap<Question, Arc<Premise>>>>);

impl Premises {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Arc<Premise>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an earlier request of the kind was decided on, unless that is too long ago.
    #[must_use]
    pub fn about(&self, question: &Question, now: Instant) -> Option<Arc<Premise>> {
        let premise = self.lock().get(question).map(Arc::clone)?;
        let age = now.saturating_duration_since(premise.read_at);
        (age <= REMEMBERED_FOR).then_some(premise)
    }

    /// Remembers.
    pub fn learn(&self, question: Question, premise: Premise) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(question, Arc::new(premise));
    }

    /// Forgets.
    pub fn forget(&self, question: &Question) {
        self.lock().remove(question);
    }
}
