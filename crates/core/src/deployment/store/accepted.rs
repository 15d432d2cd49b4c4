//! Inserting accepted deployments, many with one statement.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbErr, EntityTrait as _,
};

use super::gate::Ids;
use crate::{
    deployment::{
        admission::{Idempotency, NewDeployment},
        entity::{
            deployment::{ActiveModel, Entity, Model},
            idempotency_key as key,
        },
        status::Status,
    },
    fail,
    id::{DeploymentId, UserId},
};

/// Inserts requests with the next ids, in order, and remembers their keys.
pub(super) async fn insert(
    tx: &impl ConnectionTrait,
    requests: &[&NewDeployment],
    ids: Ids,
    now: DateTime<Utc>,
) -> Result<(Vec<Model>, Vec<key::Model>), DbErr> {
    if requests.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let numbered = (ids.before + 1..).zip(requests);
    let rows: Vec<Model> = numbered
        .map(|(id, request)| model(DeploymentId(id), request, now))
        .collect();
    let values = rows.iter().map(active);
    fail::point("admission.before_insert");
    Entity::insert_many(values)
        .exec_without_returning(tx)
        .await?;
    fail::point("admission.between_inserts");
    let keys: Vec<key::Model> = requests
        .iter()
        .zip(&rows)
        .filter_map(|(request, row)| Some(remember(request.idempotency.as_ref()?, row, now)))
        .collect();
    if !keys.is_empty() {
        let values = keys.iter().cloned().map(|known| key::ActiveModel {
            id: NotSet,
            ..known.into()
        });
        key::Entity::insert_many(values)
            .exec_without_returning(tx)
            .await?;
    }
    Ok((rows, keys))
}

/// Whose key it is; requests that nobody signed in for share one place.
pub(super) fn asker(user: Option<UserId>) -> UserId {
    user.unwrap_or(UserId(0))
}

fn model(id: DeploymentId, request: &NewDeployment, now: DateTime<Utc>) -> Model {
    Model {
        id,
        project_id: request.project,
        target_id: request.target,
        status: Status::Queued,
        reason: None,
        reason_text: None,
        ref_name: request.ref_name.clone(),
        commit_id: request.commit_id.clone(),
        commit_subject: None,
        commit_author: None,
        trigger_kind: request.trigger,
        note: request.note.clone(),
        pipeline: None,
        attempt: 0,
        interruptions: 0,
        fence: 0,
        lease_token: None,
        lease_owner: None,
        lease_until: None,
        not_before: 0,
        cancel_requested_at: None,
        cancel_requested_by: None,
        requested_by: request.requested_by,
        retry_of: request.retry_of,
        superseded_by: None,
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

/// The columns that are not empty.
fn active(row: &Model) -> ActiveModel {
    let row = row.clone();
    ActiveModel {
        id: Set(row.id),
        project_id: Set(row.project_id),
        target_id: Set(row.target_id),
        status: Set(row.status),
        ref_name: Set(row.ref_name),
        commit_id: Set(row.commit_id),
        trigger_kind: Set(row.trigger_kind),
        note: Set(row.note),
        attempt: Set(row.attempt),
        interruptions: Set(row.interruptions),
        fence: Set(row.fence),
        not_before: Set(row.not_before),
        requested_by: Set(row.requested_by),
        retry_of: Set(row.retry_of),
        created_at: Set(row.created_at),
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
