//! Collects requests that arrive at the same time, so that one transaction decides many of them.
//!
//! The backlog limit is exact because every transaction holds the gate; it is fast because the gate
//! is taken once for a whole batch. It asks nobody for permission: system-only.

use std::sync::Arc;

use super::{
    entity::deployment::Model,
    store::{
        self,
        admission::{Decisions, Door},
        premise::Premise,
    },
    trigger::Trigger,
};
use crate::{
    audit::{self, trail::Trail},
    db::{self, Db},
    error::{Error, Result},
    field::IdempotencyKey,
    gather::{Gather, Limits},
    id::{DeploymentId, ProjectId, TargetId, UserId},
    ports::Entry,
    project::policy::QueuePolicy,
};

/// How many requests one transaction decides, and how many wait for that in this process.
const LIMITS: Limits = Limits {
    batch: 64,
    waiting: 1024,
};

/// A repeated request, recognised.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// What the client sent.
    pub key: IdempotencyKey,
    /// A hash of the request's meaning: the same key for another request is an error.
    pub request_hash: String,
}

/// A request that was checked and authorised.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// The project.
    pub project: ProjectId,
    /// The target.
    pub target: TargetId,
    /// How this project treats a request while others wait.
    pub policy: QueuePolicy,
    /// The branch or tag; none for a project without a repository.
    pub ref_name: Option<String>,
    /// The commit, if it is already known.
    pub commit_id: Option<String>,
    /// What made it.
    pub trigger: Trigger,
    /// A remark.
    pub note: Option<String>,
    /// Who asked.
    pub requested_by: Option<UserId>,
    /// The deployment that this one repeats.
    pub retry_of: Option<DeploymentId>,
    /// How to recognise the same request again.
    pub idempotency: Option<Idempotency>,
    /// A bit for each event of the project that anybody is told of.
    pub told: i64,
    /// What it was decided on, if that has to be asked about when it is accepted.
    pub premise: Option<Arc<Premise>>,
    /// What the audit trail is to say of it, but for the deployment that it becomes.
    pub entry: audit::entry::Entry,
}

impl NewDeployment {
    /// Whether it is accepted whatever else is there, the limit and its key aside.
    pub(super) fn is_plain(&self) -> bool {
        self.policy == QueuePolicy::QueueAll && self.retry_of.is_none()
    }

    /// Whether both carry the same client's same Idempotency-Key.
    pub(super) fn same_key(&self, other: &Self) -> bool {
        let key = |request: &Self| request.idempotency.as_ref().map(|it| it.key.clone());
        key(self).is_some()
            && key(self) == key(other)
            && self.project == other.project
            && self.requested_by == other.requested_by
    }
}

/// An accepted request.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The deployment.
    pub row: Model,
    /// False when an earlier request had made it.
    pub is_new: bool,
    /// Deployments whose place it took.
    pub superseded: Vec<Entry>,
}

impl Admitted {
    pub(super) fn new(row: Model) -> Self {
        Self {
            row,
            is_new: true,
            superseded: Vec::new(),
        }
    }

    pub(super) fn replayed(row: Model) -> Self {
        Self {
            row,
            is_new: false,
            superseded: Vec::new(),
        }
    }
}

/// The door that every new deployment of this process goes through.
#[derive(Clone, Debug)]
pub struct Admission {
    requests: Gather<NewDeployment, Option<Admitted>>,
    door: Arc<Door>,
}

impl Admission {
    /// A door to this database, which lets so many wait.
    #[must_use]
    pub fn new(db: &Db, limit: u32, trail: Trail) -> Self {
        Self::beside(db, Arc::new(Door::new(limit, trail)))
    }

    /// Another door of the same process, over another connection to the same database.
    #[must_use]
    pub fn apart(&self, db: &Db) -> Self {
        Self::beside(db, Arc::clone(&self.door))
    }

    fn beside(db: &Db, door: Arc<Door>) -> Self {
        let own = Arc::clone(&door);
        let requests = db::each_answered(db, LIMITS, move |db, requests: Vec<_>| {
            let door = Arc::clone(&own);
            async move { decide_all(&db, &door, &requests).await }
        });
        Self { requests, door }
    }

    /// Asks for a place in the queue, for a request that was looked up just now.
    ///
    /// # Errors
    /// [`Error::QueueFull`], a conflict, [`Error::NotFound`] when the target was deleted meanwhile,
    /// [`Error::Busy`] when too many wait for a decision, or the database's failure.
    pub async fn request(&self, request: NewDeployment) -> Result<Admitted> {
        let request = NewDeployment {
            premise: None,
            ..request
        };
        let admitted = self.requests.ask(request).await?;
        admitted.ok_or_else(|| db::broken("a request that rests on nothing was not looked at"))
    }

    /// Whether a request that rests on a premise is worth a try.
    #[must_use]
    pub fn takes_premises(&self) -> bool {
        self.door.mark.is_alone()
    }

    /// The same for one that may rest on a premise. Nothing, and nothing was accepted, when something
    /// has changed since or that could not be asked: then the request has to be looked up.
    ///
    /// # Errors
    /// Those of [`Self::request`].
    pub async fn request_if(&self, request: NewDeployment) -> Result<Option<Admitted>> {
        if request.premise.is_none() {
            return self.request(request).await.map(Some);
        }
        self.requests.ask(request).await
    }
}

/// Decides together, or one by one when one of them cannot be accepted at all: the others must not
/// fail for it.
async fn decide_all(db: &Db, door: &Door, requests: &[NewDeployment]) -> Decisions {
    match decide_together(db, door, requests).await {
        Ok(outcomes) => outcomes,
        Err(Error::NotFound(_)) => {
            let mut outcomes = Vec::with_capacity(requests.len());
            for request in requests {
                let alone = decide_together(db, door, std::slice::from_ref(request)).await;
                let outcome = alone.and_then(|mut outcomes| {
                    let only = outcomes.pop();
                    only.unwrap_or_else(|| Err(db::broken("a request was left undecided")))
                });
                outcomes.push(outcome);
            }
            outcomes
        }
        Err(error) => {
            tracing::error!(error = ?error, requests = requests.len(), "admission failed");
            db::all_failed(error, requests.len())
        }
    }
}

async fn decide_together(db: &Db, door: &Door, requests: &[NewDeployment]) -> Result<Decisions> {
    door.trail.prepare().await?;
    let now = db::now();
    db::retried(|| store::admission::admit(db, requests, door, now)).await
}
