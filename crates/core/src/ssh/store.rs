//! SSH keys and host keys in the database; system-only.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::entity::{ActiveModel, Column, Entity, Model, host_key};
use crate::{
    error::Result,
    id::{HostKeyId, ProjectId, SshKeyId},
};

/// A project's keys, its own before those of its targets.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, project: ProjectId) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(project))
        .order_by_asc(Column::Scope)
        .all(conn)
        .await?)
}

/// The key of a project or of one of its targets, locked until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn find_locked(
    tx: &impl ConnectionTrait,
    project: ProjectId,
    scope: i64,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(project))
        .filter(Column::Scope.eq(scope))
        .lock_exclusive()
        .one(tx)
        .await?)
}

/// The key for deployments to this target: its own, or else its project's.
///
/// # Errors
/// When the database fails.
pub async fn for_target(
    conn: &impl ConnectionTrait,
    project: ProjectId,
    target: i64,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(project))
        .filter(Column::Scope.is_in([0, target]))
        .order_by_desc(Column::Scope)
        .one(conn)
        .await?)
}

/// Adds a key.
///
/// # Errors
/// When there is one, or the database fails.
pub async fn insert(tx: &impl ConnectionTrait, row: ActiveModel) -> Result<SshKeyId, DbErr> {
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Changes a key.
///
/// # Errors
/// When the database fails.
pub async fn update(tx: &impl ConnectionTrait, id: SshKeyId, values: ActiveModel) -> Result<()> {
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes a key.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &impl ConnectionTrait, id: SshKeyId) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// The host keys that a project trusts.
///
/// # Errors
/// When the database fails.
pub async fn host_keys(
    conn: &impl ConnectionTrait,
    project: ProjectId,
) -> Result<Vec<host_key::Model>> {
    Ok(host_key::Entity::find()
        .filter(host_key::Column::ProjectId.eq(project))
        .order_by_asc(host_key::Column::Host)
        .order_by_asc(host_key::Column::Id)
        .all(conn)
        .await?)
}

/// Adds a host key.
///
/// # Errors
/// When the project trusts it already, or the database fails.
pub async fn insert_host_key(
    tx: &impl ConnectionTrait,
    row: host_key::ActiveModel,
) -> Result<HostKeyId, DbErr> {
    Ok(host_key::Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Removes a host key of a project.
///
/// # Errors
/// When the database fails.
pub async fn delete_host_key(tx: &impl ConnectionTrait, id: HostKeyId) -> Result<()> {
    host_key::Entity::delete_many()
        .filter(host_key::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}
