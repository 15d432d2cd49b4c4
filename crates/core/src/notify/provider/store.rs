//! Providers in the database; system-only.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::Expr,
};

use super::entity::{ActiveModel, Column, Entity, Model};
use crate::{error::Result, id::ProviderId};

/// Every provider, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find().order_by_asc(Column::Name).all(conn).await?)
}

/// One provider.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, id: ProviderId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Holds a provider's row until the transaction ends, and reads it.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &impl ConnectionTrait, id: ProviderId) -> Result<Option<Model>> {
    Entity::update_many()
        .col_expr(Column::Name, Expr::col(Column::Name))
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    find(tx, id).await
}

/// Inserts a provider.
///
/// # Errors
/// When the name is taken or the database fails.
pub async fn insert(tx: &impl ConnectionTrait, row: ActiveModel) -> Result<ProviderId, DbErr> {
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Writes the set fields of a provider.
///
/// # Errors
/// When the name is taken or the database fails.
pub async fn update(
    tx: &impl ConnectionTrait,
    id: ProviderId,
    values: ActiveModel,
) -> Result<(), DbErr> {
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes a provider.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &impl ConnectionTrait, id: ProviderId) -> Result<()> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}
