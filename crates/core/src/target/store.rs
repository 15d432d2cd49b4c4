//! Targets in the database; system-only. Every finder names the project, so that no address reaches
//! another project's target.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::Expr,
};

use super::entity::{ActiveModel, Column, Entity, Model};
use crate::{
    deployment::store::revision::Counted,
    error::Result,
    field::Slug,
    id::{ProjectId, TargetId},
};

/// The target of this project that an address names, by slug or by id.
///
/// # Errors
/// When the database fails.
pub async fn find(
    conn: &impl ConnectionTrait,
    project: ProjectId,
    key: &str,
) -> Result<Option<Model>> {
    let query = match key.parse::<TargetId>() {
        Ok(id) => Entity::find_by_id(id),
        // MySQL overlooks spaces at the end; an address names a target exactly or not at all.
        Err(_) if key.parse::<Slug>().is_err() => return Ok(None),
        Err(_) => Entity::find().filter(Column::Slug.eq(key)),
    };
    Ok(query
        .filter(Column::ProjectId.eq(project))
        .one(conn)
        .await?)
}

/// The target with this id.
///
/// # Errors
/// When the database fails.
pub async fn by_id(conn: &impl ConnectionTrait, id: TargetId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// These targets.
///
/// # Errors
/// When the database fails.
pub async fn find_many(conn: &impl ConnectionTrait, ids: &[TargetId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .all(conn)
        .await?)
}

/// A project's targets.
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

/// Inserts a target and answers it.
///
/// # Errors
/// When the slug is taken or the database fails.
pub async fn insert(
    conn: &impl ConnectionTrait,
    values: ActiveModel,
) -> Result<Model, sea_orm::DbErr> {
    let id = Entity::insert(values).exec(conn).await?.last_insert_id;
    let row = Entity::find_by_id(id).one(conn).await?;
    row.ok_or(sea_orm::DbErr::RecordNotInserted)
}

/// Writes the set fields of a target.
///
/// # Errors
/// When the slug is taken or the database fails.
pub async fn update(
    conn: &impl ConnectionTrait,
    _: &Counted,
    id: TargetId,
    values: ActiveModel,
) -> Result<(), sea_orm::DbErr> {
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Locks a target's row until the transaction ends: no deployment is added to it meanwhile, because
/// that locks the row too.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &impl ConnectionTrait, id: TargetId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Slug, Expr::col(Column::Slug))
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes a target with its history.
///
/// # Errors
/// When the database fails.
pub async fn delete(conn: &impl ConnectionTrait, id: TargetId) -> Result<()> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}
