//! Secrets in the database; system-only. Their values stand with the other sealed ones.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::{
    entity::{ActiveModel, Column, Entity, Model},
    sealed,
};
use crate::{
    error::Result,
    id::{ProjectId, SealedId, SecretId, TargetId},
    variable::store::scope,
};

/// A secret with its newest value, still encrypted. The value is missing only when somebody took its
/// row away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub secret: Model,
    /// What it holds.
    pub value: Option<sealed::Model>,
}

fn stored((secret, value): (Model, Option<sealed::Model>)) -> Stored {
    Stored { secret, value }
}

/// A project's secrets, still encrypted.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, project: ProjectId) -> Result<Vec<Stored>> {
    let rows = Entity::find()
        .find_also_related(sealed::entity::Entity)
        .filter(Column::ProjectId.eq(project))
        .order_by_asc(Column::Name)
        .order_by_asc(Column::Scope)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(stored).collect())
}

/// What deployments to these targets receive: their projects' own, then each target's own.
///
/// # Errors
/// When the database fails.
pub async fn for_targets(
    conn: &impl ConnectionTrait,
    projects: &[ProjectId],
    targets: &[TargetId],
) -> Result<Vec<Stored>> {
    let scopes = targets.iter().map(|target| target.0).chain([0]);
    let rows = Entity::find()
        .find_also_related(sealed::entity::Entity)
        .filter(Column::ProjectId.is_in(projects.iter().copied()))
        .filter(Column::Scope.is_in(scopes))
        .order_by_asc(Column::Scope)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(stored).collect())
}

/// The secret of this name, if there is one.
///
/// # Errors
/// When the database fails.
pub async fn find(
    conn: &impl ConnectionTrait,
    place: (ProjectId, Option<TargetId>),
    name: &str,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(place.0))
        .filter(Column::Scope.eq(scope(place.1)))
        .filter(Column::Name.eq(name))
        .one(conn)
        .await?)
}

/// The same, locked until the transaction ends: two writers must not make the same version.
///
/// # Errors
/// When the database fails.
pub async fn find_locked(
    tx: &impl ConnectionTrait,
    place: (ProjectId, Option<TargetId>),
    name: &str,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(place.0))
        .filter(Column::Scope.eq(scope(place.1)))
        .filter(Column::Name.eq(name))
        .lock_exclusive()
        .one(tx)
        .await?)
}

/// Inserts a secret's row without a value: its id is part of what binds the value to it.
///
/// # Errors
/// When the database fails.
pub async fn reserve(
    tx: &impl ConnectionTrait,
    place: (ProjectId, Option<TargetId>),
    name: &str,
    now: DateTime<Utc>,
) -> Result<SecretId, DbErr> {
    let row = ActiveModel {
        project_id: Set(place.0),
        target_id: Set(place.1),
        scope: Set(scope(place.1)),
        name: Set(name.to_owned()),
        version: Set(0),
        value_id: Set(SealedId(0)),
        created_at: Set(now),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Lets a secret have this value from now on.
///
/// # Errors
/// When the database fails.
pub async fn write(
    tx: &impl ConnectionTrait,
    id: SecretId,
    version: i64,
    value: SealedId,
    now: DateTime<Utc>,
) -> Result<()> {
    let values = ActiveModel {
        version: Set(version),
        value_id: Set(value),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes a secret's row.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &impl ConnectionTrait, id: SecretId) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}
