//! Variables in the database; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, sea_query::OnConflict,
};

use super::entity::{ActiveModel, Column, Entity, Model};
use crate::{
    error::Result,
    field::VariableName,
    id::{ProjectId, TargetId},
};

/// Where a value belongs: the whole project, or one target of it.
#[must_use]
pub fn scope(target: Option<TargetId>) -> i64 {
    target.map_or(0, |target| target.0)
}

/// A project's variables.
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

/// Writes a value.
///
/// # Errors
/// When the database fails.
pub async fn put(
    conn: &impl ConnectionTrait,
    place: (ProjectId, Option<TargetId>),
    name: &str,
    value: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = ActiveModel {
        project_id: Set(place.0),
        target_id: Set(place.1),
        scope: Set(scope(place.1)),
        name: Set(name.to_owned()),
        value: Set(value.to_owned()),
        created_at: Set(now),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    let again = OnConflict::columns([Column::ProjectId, Column::Scope, Column::Name])
        .update_columns([Column::Value, Column::UpdatedAt])
        .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Deletes a value; false when there was none.
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
