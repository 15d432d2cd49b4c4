//! Inserting accepted deployments, many with one statement.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, Statement, Value,
    sea_query::{Query, SimpleExpr},
};

use super::gate::Ids;
use crate::{
    audit::{
        entry::{Entry, ObjectKind},
        trail::Trail,
    },
    db::Bundle,
    deployment::{
        admission::{Idempotency, NewDeployment},
        entity::{
            deployment::{Column, Entity as Deployment, Model},
            idempotency_key as key,
        },
        status::Status,
    },
    error::Result,
    fail,
    id::{DeploymentId, UserId},
};

/// Inserts requests with the next ids, in order, and remembers their keys.
pub(super) async fn insert(
    tx: &impl ConnectionTrait,
    trail: &Trail,
    requests: &[&NewDeployment],
    ids: Ids,
    now: DateTime<Utc>,
) -> Result<(Vec<Model>, Vec<key::Model>)> {
    if requests.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let backend = tx.get_database_backend();
    let (rows, keys) = models(requests, ids, now);
    fail::point("admission.before_insert");
    tx.execute_raw(insertion(backend, &rows)).await?;
    fail::point("admission.between_inserts");
    if !keys.is_empty() {
        tx.execute_raw(keys_insertion(backend, &keys)).await?;
    }
    trail.record_all(tx, &entries(requests, &rows)).await?;
    Ok((rows, keys))
}

/// What these requests become with the ids that follow.
pub(super) fn models(
    requests: &[&NewDeployment],
    ids: Ids,
    now: DateTime<Utc>,
) -> (Vec<Model>, Vec<key::Model>) {
    let numbered = (ids.before + 1..).zip(requests);
    let rows: Vec<Model> = numbered
        .map(|(id, request)| model(DeploymentId(id), request, now))
        .collect();
    let keys = requests.iter().zip(&rows);
    let keys =
        keys.filter_map(|(request, row)| Some(remember(request.idempotency.as_ref()?, row, now)));
    let keys = keys.collect();
    (rows, keys)
}

/// Inserts them all behind what the bundle does, with the entries that say who asked.
pub(super) fn insertions(
    bundle: Bundle,
    (backend, trail): (DbBackend, &Trail),
    (rows, keys): (&[Model], &[key::Model]),
    entries: &[Entry],
) -> Result<Bundle> {
    let bundle = bundle.write(insertion(backend, rows));
    let bundle = if keys.is_empty() {
        bundle
    } else {
        bundle.write(keys_insertion(backend, keys))
    };
    let entries = trail.insertions(backend, entries)?;
    Ok(entries.into_iter().fold(bundle, Bundle::write))
}

/// What the audit trail says of rows that were accepted.
pub(super) fn entries(requests: &[&NewDeployment], rows: &[Model]) -> Vec<Entry> {
    let each = requests.iter().zip(rows);
    let entries = each.map(|(request, row)| {
        let after = serde_json::json!({
            "target": row.target_id,
            "ref": row.ref_name,
            "trigger": row.trigger_kind,
            "retry_of": row.retry_of,
        });
        request
            .entry
            .clone()
            .on(ObjectKind::Deployment, row.id.0, &row.id.to_string())
            .in_project(row.project_id)
            .after(&after)
    });
    entries.collect()
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

/// The columns that are not empty in a new row.
const COLUMNS: [Column; 15] = [
    Column::Id,
    Column::ProjectId,
    Column::TargetId,
    Column::Status,
    Column::RefName,
    Column::CommitId,
    Column::TriggerKind,
    Column::Note,
    Column::Attempt,
    Column::Interruptions,
    Column::Fence,
    Column::NotBefore,
    Column::RequestedBy,
    Column::RetryOf,
    Column::CreatedAt,
];

/// Inserts the rows with these ids.
fn insertion(backend: DbBackend, rows: &[Model]) -> Statement {
    let mut insert = Query::insert();
    insert.into_table(Deployment).columns(COLUMNS);
    for row in rows {
        let values: [Value; COLUMNS.len()] = [
            row.id.into(),
            row.project_id.into(),
            row.target_id.into(),
            row.status.into(),
            row.ref_name.clone().into(),
            row.commit_id.clone().into(),
            row.trigger_kind.into(),
            row.note.clone().into(),
            row.attempt.into(),
            row.interruptions.into(),
            row.fence.into(),
            row.not_before.into(),
            row.requested_by.into(),
            row.retry_of.into(),
            row.created_at.into(),
        ];
        insert.values_panic(values.map(SimpleExpr::from));
    }
    backend.build(&insert)
}

/// Remembers keys for the deployments with these ids.
fn keys_insertion(backend: DbBackend, keys: &[key::Model]) -> Statement {
    let mut insert = Query::insert();
    insert.into_table(key::Entity).columns([
        key::Column::ProjectId,
        key::Column::UserId,
        key::Column::Key,
        key::Column::RequestHash,
        key::Column::DeploymentId,
        key::Column::CreatedAt,
    ]);
    for key in keys {
        insert.values_panic([
            key.project_id.into(),
            key.user_id.into(),
            key.key.as_str().into(),
            key.request_hash.as_str().into(),
            key.deployment_id.into(),
            key.created_at.into(),
        ]);
    }
    backend.build(&insert)
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
