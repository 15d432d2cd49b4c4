//! Channels in the database; system-only.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::Expr,
};

use super::entity::{ActiveModel, Column, Entity, Model};
use crate::{
    error::Result,
    id::{ChannelId, ProviderId},
};

/// Every channel, by provider and name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .order_by_asc(Column::ProviderId)
        .order_by_asc(Column::Name)
        .all(conn)
        .await?)
}

/// The channels of a provider, by name.
///
/// # Errors
/// When the database fails.
pub async fn of_provider(conn: &impl ConnectionTrait, id: ProviderId) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::ProviderId.eq(id))
        .order_by_asc(Column::Name)
        .all(conn)
        .await?)
}

/// These channels, by name.
///
/// # Errors
/// When the database fails.
pub async fn find_many(conn: &impl ConnectionTrait, ids: &[ChannelId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(Column::Name)
        .all(conn)
        .await?)
}

/// One channel.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, id: ChannelId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Holds the rows of channels until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &impl ConnectionTrait, ids: &[ChannelId]) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Name, Expr::col(Column::Name))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Inserts a channel.
///
/// # Errors
/// When the name is taken within the provider, or the database fails.
pub async fn insert(tx: &impl ConnectionTrait, row: ActiveModel) -> Result<ChannelId, DbErr> {
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Writes the set fields of a channel.
///
/// # Errors
/// When the name is taken within the provider, or the database fails.
pub async fn update(
    tx: &impl ConnectionTrait,
    id: ChannelId,
    values: ActiveModel,
) -> Result<(), DbErr> {
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes a channel with its deliveries.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &impl ConnectionTrait, id: ChannelId) -> Result<()> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}
