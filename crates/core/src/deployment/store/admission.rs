//! Accepting deployments: many requests in one transaction that holds the gate, so that the backlog
//! limit is exact and ids rise in the order in which requests were accepted.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
};

use super::apply::{Guard, apply};
use crate::{
    db::{Db, is_orphan},
    deployment::{
        admission::{Admitted, Idempotency, NewDeployment},
        entity::{
            deployment::{ActiveModel, Column, Entity, Model},
            idempotency_key as key,
        },
        status::{Status, Transition},
    },
    error::{Error, Result},
    fail,
    id::{DeploymentId, UserId},
    ports::Entry,
    project::policy::QueuePolicy,
};

/// What one transaction knows while it works through its requests.
struct Batch<'a, C> {
    tx: &'a C,
    limit: u32,
    depth: u64,
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
    limit: u32,
    now: DateTime<Utc>,
) -> Result<Vec<Result<Admitted>>> {
    let tx = db.begin().await?;
    lock_gate(&tx).await?;
    fail::point("admission.before_insert");
    let mut batch = Batch {
        tx: &tx,
        limit,
        depth: Entity::find()
            .filter(Column::Status.eq(Status::Queued))
            .count(&tx)
            .await?,
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
        } else if request.policy == QueuePolicy::QueueAll && request.retry_of.is_none() {
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
    fail::point("admission.before_commit");
    tx.commit().await?;
    fail::point("admission.after_commit");
    answers
        .into_iter()
        .map(|answer| answer.ok_or_else(|| crate::db::broken("a request was left undecided")))
        .collect()
}

/// Writing the gate's row locks it until the transaction ends, on both databases.
async fn lock_gate(tx: &impl ConnectionTrait) -> Result<()> {
    let sql = "UPDATE queue_gate SET admitted = admitted + 1 WHERE id = 1";
    let locked = tx
        .execute_raw(Statement::from_string(tx.get_database_backend(), sql))
        .await?;
    if locked.rows_affected() == 1 {
        Ok(())
    } else {
        Err(crate::db::broken("the row of queue_gate is missing"))
    }
}

async fn known_keys(
    tx: &impl ConnectionTrait,
    requests: &[NewDeployment],
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
        requests: &[NewDeployment],
        waiting: &mut Vec<usize>,
        answers: &mut [Option<Result<Admitted>>],
    ) -> Result<()> {
        let indexes = std::mem::take(waiting);
        let wanted: Vec<&NewDeployment> = indexes
            .iter()
            .filter_map(|index| requests.get(*index))
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
                superseded.push(Entry {
                    id: old.id,
                    target: old.target_id,
                });
            }
        }
        Ok(Ok(Admitted {
            row,
            is_new: true,
            superseded,
        }))
    }

    async fn insert(&mut self, requests: &[&NewDeployment]) -> Result<Vec<Model>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let newest_before: Option<DeploymentId> = Entity::find()
            .select_only()
            .column(Column::Id)
            .order_by_desc(Column::Id)
            .limit(1)
            .into_tuple()
            .one(self.tx)
            .await?;
        let rows = requests.iter().map(|request| active(request, self.now));
        Entity::insert_many(rows)
            .exec_without_returning(self.tx)
            .await
            .map_err(target_gone)?;
        // The gate keeps every other insert out, so what is newer now is ours, in our order.
        let rows = Entity::find()
            .filter(Column::Id.gt(newest_before.unwrap_or(DeploymentId(0))))
            .order_by_asc(Column::Id)
            .all(self.tx)
            .await?;
        if rows.len() != requests.len() {
            return Err(crate::db::broken("deployments were inserted past the gate"));
        }
        fail::point("admission.between_inserts");
        let keys: Vec<key::Model> = requests
            .iter()
            .zip(&rows)
            .filter_map(|(request, row)| {
                Some(remember(request.idempotency.as_ref()?, row, self.now))
            })
            .collect();
        if !keys.is_empty() {
            let values = keys.iter().cloned().map(|known| key::ActiveModel {
                id: NotSet,
                ..known.into()
            });
            key::Entity::insert_many(values)
                .exec_without_returning(self.tx)
                .await?;
            self.known.extend(keys);
        }
        Ok(rows)
    }
}

fn target_gone(error: DbErr) -> Error {
    if is_orphan(&error) {
        Error::NotFound("target")
    } else {
        error.into()
    }
}

/// Whose key it is; requests that nobody signed in for share one place.
fn asker(user: Option<UserId>) -> UserId {
    user.unwrap_or(UserId(0))
}

fn active(request: &NewDeployment, now: DateTime<Utc>) -> ActiveModel {
    ActiveModel {
        project_id: Set(request.project),
        target_id: Set(request.target),
        status: Set(Status::Queued),
        ref_name: Set(request.ref_name.clone()),
        commit_id: Set(request.commit_id.clone()),
        trigger_kind: Set(request.trigger),
        note: Set(request.note.clone()),
        attempt: Set(0),
        interruptions: Set(0),
        fence: Set(0),
        not_before: Set(0),
        requested_by: Set(request.requested_by),
        retry_of: Set(request.retry_of),
        created_at: Set(now),
        ..ActiveModel::default()
    }
}

fn remember(wanted: &Idempotency, row: &Model, now: DateTime<Utc>) -> key::Model {
    key::Model {
        id: 0, // The database gives it one; nobody here asks for it.
        project_id: row.project_id,
        user_id: asker(row.requested_by),
        key: wanted.key.as_str().to_owned(),
        request_hash: wanted.request_hash.clone(),
        deployment_id: row.id,
        created_at: now,
    }
}
