//! Secrets and key checks in the database, encrypted; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::{
    cipher::Sealed,
    entity::{ActiveModel, Column, Entity, Model, key_check},
};
use crate::{
    error::Result,
    field::VariableName,
    id::{ProjectId, SecretId, TargetId},
    variable::store::scope,
};

/// A project's secrets, still encrypted.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, project: ProjectId) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(project))
        .order_by_asc(Column::Name)
        .order_by_asc(Column::Scope)
        .all(conn)
        .await?)
}

/// What deployments to these targets receive: their projects' own, then each target's own.
///
/// # Errors
/// When the database fails.
pub async fn for_targets(
    conn: &impl ConnectionTrait,
    projects: &[ProjectId],
    targets: &[TargetId],
) -> Result<Vec<Model>> {
    let scopes = targets.iter().map(|target| target.0).chain([0]);
    Ok(Entity::find()
        .filter(Column::ProjectId.is_in(projects.iter().copied()))
        .filter(Column::Scope.is_in(scopes))
        .order_by_asc(Column::Scope)
        .all(conn)
        .await?)
}

/// The secret of this name, if there is one, locked until the transaction ends: two writers must not
/// make the same version.
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

/// Inserts a secret's row without a value: its id is part of what binds the value to it. The
/// placeholder nonce is unique because the row's place is.
///
/// # Errors
/// When the database fails.
pub async fn reserve(
    tx: &impl ConnectionTrait,
    place: (ProjectId, Option<TargetId>),
    name: &str,
    placeholder: &Sealed,
    now: DateTime<Utc>,
) -> Result<SecretId, DbErr> {
    let row = ActiveModel {
        project_id: Set(place.0),
        target_id: Set(place.1),
        scope: Set(scope(place.1)),
        name: Set(name.to_owned()),
        version: Set(0),
        algorithm: Set(placeholder.alg.as_str().to_owned()),
        key_version: Set(i64::from(placeholder.key_version)),
        nonce: Set(placeholder.nonce.to_vec()),
        ciphertext: Set(Vec::new()),
        created_at: Set(now),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Writes a new value.
///
/// # Errors
/// When the database fails.
pub async fn write(
    tx: &impl ConnectionTrait,
    id: SecretId,
    version: i64,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<()> {
    let values = ActiveModel {
        version: Set(version),
        algorithm: Set(sealed.alg.as_str().to_owned()),
        key_version: Set(i64::from(sealed.key_version)),
        nonce: Set(sealed.nonce.to_vec()),
        ciphertext: Set(sealed.ciphertext.clone()),
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

/// Deletes a secret; false when there was none.
///
/// # Errors
/// When the database fails.
pub async fn delete(
    conn: &impl ConnectionTrait,
    place: (ProjectId, Option<TargetId>),
    name: &VariableName,
) -> Result<bool> {
    let deleted = Entity::delete_many()
        .filter(Column::ProjectId.eq(place.0))
        .filter(Column::Scope.eq(scope(place.1)))
        .filter(Column::Name.eq(name.as_str()))
        .exec(conn)
        .await?;
    Ok(deleted.rows_affected > 0)
}

/// The check value of a key version.
///
/// # Errors
/// When the database fails.
pub async fn key_check(
    conn: &impl ConnectionTrait,
    version: i32,
) -> Result<Option<key_check::Model>> {
    Ok(key_check::Entity::find()
        .filter(key_check::Column::KeyVersion.eq(i64::from(version)))
        .one(conn)
        .await?)
}

/// Keeps the check value of a key version.
///
/// # Errors
/// When another process was first, or the database fails.
pub async fn insert_key_check(
    conn: &impl ConnectionTrait,
    version: i32,
    check: &Sealed,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = key_check::ActiveModel {
        key_version: Set(i64::from(version)),
        algorithm: Set(check.alg.as_str().to_owned()),
        nonce: Set(check.nonce.to_vec()),
        ciphertext: Set(check.ciphertext.clone()),
        created_at: Set(now),
        ..key_check::ActiveModel::default()
    };
    key_check::Entity::insert(row)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}
