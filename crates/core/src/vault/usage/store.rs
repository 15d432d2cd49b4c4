//! Uses of secrets in the database; system-only.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::entity::{ActiveModel, Column, Entity, Model};
use crate::{error::Result, id::DeploymentId};

/// Rows that one statement writes.
const AT_ONCE: usize = 100;

/// Writes what runs were given.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &impl ConnectionTrait, rows: Vec<Model>) -> Result<()> {
    for some in rows.chunks(AT_ONCE) {
        let new = some.iter().cloned().map(|row| ActiveModel {
            id: NotSet,
            deployment_id: Set(row.deployment_id),
            fence: Set(row.fence),
            attempt: Set(row.attempt),
            scope: Set(row.scope),
            name: Set(row.name),
            version: Set(row.version),
            used_at: Set(row.used_at),
        });
        Entity::insert_many(new).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// What the runs of a deployment were given, the first run first.
///
/// # Errors
/// When the database fails.
pub async fn of_deployment(
    conn: &impl ConnectionTrait,
    deployment: DeploymentId,
) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::DeploymentId.eq(deployment))
        .order_by_asc(Column::Fence)
        .order_by_asc(Column::Name)
        .all(conn)
        .await?)
}
