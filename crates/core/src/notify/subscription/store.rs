//! Subscriptions in the database; system-only.
//!
//! Beside each project it is kept which events anybody is told of: what happens reads the project
//! anyway, and so knows for nothing that nobody listens.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, Query},
};

use super::entity::{ActiveModel, Column, Entity, Model, pair};
use crate::{
    deployment::store::revision::{self, Counted},
    error::Result,
    id::{ChannelId, ProjectId, SubscriptionId},
    project::entity as project,
};

/// The subscriptions of a project, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, project: ProjectId) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::ProjectId.eq(project))
        .order_by_asc(Column::Id)
        .all(conn)
        .await?)
}

/// One subscription of a project.
///
/// # Errors
/// When the database fails.
pub async fn find(
    conn: &impl ConnectionTrait,
    project: ProjectId,
    id: SubscriptionId,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id)
        .filter(Column::ProjectId.eq(project))
        .one(conn)
        .await?)
}

/// The channels of these subscriptions.
///
/// # Errors
/// When the database fails.
pub async fn channels(
    conn: &impl ConnectionTrait,
    ids: impl Iterator<Item = SubscriptionId>,
) -> Result<Vec<(SubscriptionId, ChannelId)>> {
    Ok(pair::Entity::find()
        .select_only()
        .columns([pair::Column::SubscriptionId, pair::Column::ChannelId])
        .filter(pair::Column::SubscriptionId.is_in(ids))
        .order_by_asc(pair::Column::Id)
        .into_tuple()
        .all(conn)
        .await?)
}

/// The projects that subscribe to a channel, by slug.
///
/// # Errors
/// When the database fails.
pub async fn projects_of_channel(
    conn: &impl ConnectionTrait,
    channel: ChannelId,
) -> Result<Vec<project::Model>> {
    let subscriptions = Query::select()
        .column(pair::Column::SubscriptionId)
        .from(pair::Entity)
        .and_where(pair::Column::ChannelId.eq(channel))
        .to_owned();
    let projects = Query::select()
        .column(Column::ProjectId)
        .from(Entity)
        .and_where(Column::Id.in_subquery(subscriptions))
        .to_owned();
    Ok(project::Entity::find()
        .filter(project::Column::Id.in_subquery(projects))
        .order_by_asc(project::Column::Slug)
        .all(conn)
        .await?)
}

/// Inserts a subscription.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &impl ConnectionTrait, row: ActiveModel) -> Result<SubscriptionId> {
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Writes the set fields of a subscription.
///
/// # Errors
/// When the database fails.
pub async fn update(
    tx: &impl ConnectionTrait,
    id: SubscriptionId,
    values: ActiveModel,
) -> Result<()> {
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Puts other channels in the place of a subscription's.
///
/// # Errors
/// When a channel does not exist, or the database fails.
pub async fn set_channels(
    tx: &impl ConnectionTrait,
    id: SubscriptionId,
    channels: &[ChannelId],
) -> Result<()> {
    pair::Entity::delete_many()
        .filter(pair::Column::SubscriptionId.eq(id))
        .exec(tx)
        .await?;
    let rows = channels.iter().map(|channel| pair::ActiveModel {
        id: NotSet,
        subscription_id: Set(id),
        channel_id: Set(*channel),
    });
    pair::Entity::insert_many(rows)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Deletes a subscription.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &impl ConnectionTrait, id: SubscriptionId) -> Result<()> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Holds a project's row until the transaction ends, so that what is told of it is written by one at
/// a time; and counts that as a change.
///
/// # Errors
/// When the database fails.
pub async fn lock_project(tx: &impl ConnectionTrait, id: ProjectId) -> Result<Counted> {
    let counted = revision::count(tx).await?;
    project::Entity::update_many()
        .col_expr(project::Column::Told, Expr::col(project::Column::Told))
        .filter(project::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(counted)
}

/// Writes beside a project which events anybody is told of. Its row is held.
///
/// # Errors
/// When the database fails.
pub async fn note_told(tx: &impl ConnectionTrait, _: &Counted, id: ProjectId) -> Result<()> {
    let rows = list(tx, id).await?;
    let told = rows.iter().fold(0, |told, row| told | row.events);
    project::Entity::update_many()
        .col_expr(project::Column::Told, Expr::value(told))
        .filter(project::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}
