//! Accepting deployments: many requests in one transaction that holds the gate, so that the backlog
//! limit is exact and ids rise in the order in which requests were accepted.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::{
    accepted::{asker, insert},
    apply::{Guard, apply},
    gate::{self, Bound, Ids, Mark},
    plain::{admit_expected, admit_plain, target_gone, told},
};
use crate::{
    audit::trail::Trail,
    db::{Db, Transaction},
    deployment::{
        admission::{Admitted, NewDeployment},
        entity::{
            deployment::{Column, Entity, Model},
            idempotency_key as key,
        },
        status::{Status, Transition},
    },
    error::{Error, Result},
    fail,
    notify::outbox,
    project::policy::QueuePolicy,
};

/// The limit, what is known of how much of it is used, and where it is written who came in.
#[derive(Debug)]
pub struct Door {
    /// Most deployments that may wait.
    pub limit: u32,
    /// What was counted last.
    pub bound: Bound,
    /// Where the gate stands.
    pub mark: Mark,
    /// The audit trail.
    pub trail: Trail,
}

impl Door {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(limit: u32, trail: Trail) -> Self {
        Self {
            limit,
            bound: Bound::default(),
            mark: Mark::default(),
            trail,
        }
    }
}

/// The answer to each request of a batch; nothing to one whose premise has to be looked up again.
pub type Decisions = Vec<Result<Option<Admitted>>>;

/// What one transaction knows while it works through its requests.
struct Batch<'a, C> {
    tx: &'a C,
    trail: &'a Trail,
    limit: u32,
    depth: u64,
    ids: Ids,
    now: DateTime<Utc>,
    known: Vec<key::Model>,
}

/// Decides every request, in order, and commits once.
///
/// # Errors
/// [`Error::NotFound`] when the project or target of some request was deleted meanwhile; then nothing
/// was accepted. Otherwise when the database fails; if that was while it committed, nobody knows.
pub async fn admit(
    db: &Db,
    requests: &[NewDeployment],
    door: &Door,
    now: DateTime<Utc>,
) -> Result<Decisions> {
    let all: Vec<&NewDeployment> = requests.iter().collect();
    if are_plain(&all)
        && let Some(admitted) = admit_expected(db, &all, door, now).await?
    {
        return Ok(admitted.into_iter().map(|it| Ok(Some(it))).collect());
    }
    // What rests on a premise is accepted only where that is asked about, which was above.
    let others: Vec<&NewDeployment> = all
        .iter()
        .filter(|request| request.premise.is_none())
        .copied()
        .collect();
    let mut decided = admit_others(db, &others, door, now).await?.into_iter();
    let decisions = all.iter().map(|request| match request.premise {
        Some(_) => Ok(None),
        None => {
            let decided = decided.next();
            let decided = decided.ok_or_else(|| crate::db::broken("a request was left out"))?;
            decided.map(Some)
        }
    });
    Ok(decisions.collect())
}

/// Whether none of these has to be compared with anything.
fn are_plain(requests: &[&NewDeployment]) -> bool {
    requests.iter().enumerate().all(|(index, request)| {
        let earlier = requests.get(..index).unwrap_or_default();
        request.is_plain() && !earlier.iter().any(|it| it.same_key(request))
    })
}

async fn admit_others(
    db: &Db,
    requests: &[&NewDeployment],
    door: &Door,
    now: DateTime<Utc>,
) -> Result<Vec<Result<Admitted>>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    if are_plain(requests)
        && let Some(admitted) = admit_plain(db, requests, door, now).await?
    {
        return Ok(admitted.into_iter().map(Ok).collect());
    }
    admit_each(db, requests, door, now).await
}

async fn commit(tx: Transaction) -> Result<()> {
    fail::point("admission.before_commit");
    tx.commit().await?;
    fail::point("admission.after_commit");
    Ok(())
}

async fn admit_each(
    db: &Db,
    requests: &[&NewDeployment],
    door: &Door,
    now: DateTime<Utc>,
) -> Result<Vec<Result<Admitted>>> {
    let tx = db.begin().await?;
    let ids = gate::lock(&tx, requests.len()).await?;
    let mut batch = Batch {
        tx: &tx,
        trail: &door.trail,
        limit: door.limit,
        depth: door.bound.count(&tx, ids).await?,
        ids,
        now,
        known: known_keys(&tx, requests).await?,
    };
    let mut answers: Vec<Option<Result<Admitted>>> = Vec::with_capacity(requests.len());
    let mut plain: Vec<usize> = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        if plain
            .iter()
            .filter_map(|waiting| requests.get(*waiting))
            .any(|it| it.same_key(request))
        {
            batch
                .insert_waiting(requests, &mut plain, &mut answers)
                .await?;
        }
        let answer = if let Some(answer) = batch.earlier(request).await? {
            Some(answer)
        } else if request.is_plain() {
            batch.reserve().map_or_else(
                |full| Some(Err(full)),
                |()| {
                    plain.push(index);
                    None
                },
            )
        } else {
            batch
                .insert_waiting(requests, &mut plain, &mut answers)
                .await?;
            Some(batch.insert_one(request).await?)
        };
        answers.push(answer);
    }
    batch
        .insert_waiting(requests, &mut plain, &mut answers)
        .await?;
    gate::give_back(&tx, batch.ids).await?;
    let last = batch.ids;
    commit(tx).await?;
    door.mark.given(ids, last);
    answers
        .into_iter()
        .map(|answer| answer.ok_or_else(|| crate::db::broken("a request was left undecided")))
        .collect()
}

async fn known_keys(
    tx: &impl ConnectionTrait,
    requests: &[&NewDeployment],
) -> Result<Vec<key::Model>> {
    let keyed = || {
        requests
            .iter()
            .filter_map(|request| Some((request, request.idempotency.as_ref()?)))
    };
    if keyed().next().is_none() {
        return Ok(Vec::new());
    }
    // All three columns of the index, or a growing table would be read as a whole.
    Ok(key::Entity::find()
        .filter(key::Column::ProjectId.is_in(keyed().map(|(request, _)| request.project)))
        .filter(key::Column::UserId.is_in(keyed().map(|(request, _)| asker(request.requested_by))))
        .filter(key::Column::Key.is_in(keyed().map(|(_, wanted)| wanted.key.as_str())))
        .all(tx)
        .await?)
}

impl<C: ConnectionTrait> Batch<'_, C> {
    /// The answer that this request was given before, if it was.
    async fn earlier(&self, request: &NewDeployment) -> Result<Option<Result<Admitted>>> {
        if let Some(original) = request.retry_of {
            let repeated = Entity::find()
                .filter(Column::RetryOf.eq(original))
                .one(self.tx)
                .await?;
            if let Some(row) = repeated {
                return Ok(Some(Ok(Admitted::replayed(row))));
            }
        }
        let Some(wanted) = &request.idempotency else {
            return Ok(None);
        };
        let found = self.known.iter().find(|known| {
            known.project_id == request.project
                && known.user_id == asker(request.requested_by)
                && known.key == wanted.key.as_str()
        });
        match found {
            None => Ok(None),
            Some(known) if known.request_hash != wanted.request_hash => {
                Ok(Some(Err(Error::conflict(
                    "idempotency_key_reused",
                    "this Idempotency-Key was used for a different request",
                ))))
            }
            Some(known) => {
                let row = Entity::find_by_id(known.deployment_id).one(self.tx).await?;
                Ok(row.map(|row| Ok(Admitted::replayed(row))))
            }
        }
    }

    fn reserve(&mut self) -> Result<()> {
        if self.depth >= u64::from(self.limit) {
            return Err(Error::QueueFull {
                limit: self.limit,
                depth: self.depth,
            });
        }
        self.depth += 1;
        Ok(())
    }

    /// Inserts every request that was put off, with one statement.
    async fn insert_waiting(
        &mut self,
        requests: &[&NewDeployment],
        waiting: &mut Vec<usize>,
        answers: &mut [Option<Result<Admitted>>],
    ) -> Result<()> {
        let indexes = std::mem::take(waiting);
        let wanted: Vec<&NewDeployment> = indexes
            .iter()
            .filter_map(|index| requests.get(*index).copied())
            .collect();
        let rows = self.insert(&wanted).await?;
        for (index, row) in indexes.into_iter().zip(rows) {
            if let Some(answer) = answers.get_mut(index) {
                *answer = Some(Ok(Admitted::new(row)));
            }
        }
        Ok(())
    }

    /// Inserts a request whose policy looks at the others of its target.
    async fn insert_one(&mut self, request: &NewDeployment) -> Result<Result<Admitted>> {
        let open = Entity::find()
            .filter(Column::TargetId.eq(request.target))
            .filter(Column::Status.is_in(Status::OPEN))
            .order_by_asc(Column::Id)
            .all(self.tx)
            .await?;
        if request.policy == QueuePolicy::Reject
            && let Some(first) = open.first()
        {
            return Ok(Err(Error::conflict(
                "target_busy",
                format!("deployment {} of this target is {}", first.id, first.status),
            )));
        }
        let older: Vec<Model> = if request.policy == QueuePolicy::KeepNewest {
            open.into_iter()
                .filter(|row| row.status != Status::Running)
                .collect()
        } else {
            Vec::new()
        };
        let freed = older
            .iter()
            .filter(|row| row.status == Status::Queued)
            .count();
        self.depth = self.depth.saturating_sub(freed as u64);
        if let Err(full) = self.reserve() {
            self.depth += freed as u64;
            return Ok(Err(full));
        }
        let inserted = self.insert(&[request]).await?;
        let Some(row) = inserted.into_iter().next() else {
            return Err(crate::db::broken("an accepted deployment has no row"));
        };
        let mut superseded = Vec::new();
        for old in older {
            let taken_over = Transition::Supersede { by: row.id };
            if apply(self.tx, &old, Guard::State, &taken_over, self.now).await? {
                superseded.push(old.entry());
            }
        }
        Ok(Ok(Admitted {
            row,
            is_new: true,
            superseded,
        }))
    }

    async fn insert(&mut self, requests: &[&NewDeployment]) -> Result<Vec<Model>> {
        let inserted = insert(self.tx, self.trail, requests, self.ids, self.now).await;
        let (rows, keys) = inserted.map_err(target_gone)?;
        let told = told(requests, &rows);
        outbox::note(self.tx, &told).await?;
        self.ids.before += i64::try_from(rows.len()).unwrap_or_default();
        self.known.extend(keys);
        Ok(rows)
    }
}
