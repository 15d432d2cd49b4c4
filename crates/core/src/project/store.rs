//! Projects and memberships in the database; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::entity::{ActiveModel, Column, Entity, Model, membership};
use crate::{
    access::ProjectRole,
    deployment::store::revision::Counted,
    error::Result,
    field::Slug,
    id::{ProjectId, UserId},
};

/// The project that an address names, by slug or by id.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, key: &str) -> Result<Option<Model>> {
    let query = match key.parse::<ProjectId>() {
        Ok(id) => Entity::find_by_id(id),
        // MySQL overlooks spaces at the end; an address names a project exactly or not at all.
        Err(_) if key.parse::<Slug>().is_err() => return Ok(None),
        Err(_) => Entity::find().filter(Column::Slug.eq(key)),
    };
    Ok(query.one(conn).await?)
}

/// These projects.
///
/// # Errors
/// When the database fails.
pub async fn find_many(conn: &impl ConnectionTrait, ids: &[ProjectId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .all(conn)
        .await?)
}

/// Projects in order of id, above `after`; `only` restricts them.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &impl ConnectionTrait,
    only: Option<&[ProjectId]>,
    after: ProjectId,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = Entity::find()
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit);
    if let Some(ids) = only {
        query = query.filter(Column::Id.is_in(ids.iter().copied()));
    }
    Ok(query.all(conn).await?)
}

/// Inserts a project and its first Owner.
///
/// # Errors
/// When the slug is taken or the database fails.
pub async fn insert(
    tx: &impl ConnectionTrait,
    project: ActiveModel,
    owner: UserId,
    now: DateTime<Utc>,
) -> Result<Model, sea_orm::DbErr> {
    let id = Entity::insert(project).exec(tx).await?.last_insert_id;
    write_role(tx, (id, owner), ProjectRole::Owner, now).await?;
    Entity::find_by_id(id)
        .one(tx)
        .await?
        .ok_or_else(|| sea_orm::DbErr::RecordNotInserted)
}

/// Writes the set fields of a project.
///
/// # Errors
/// When the slug is taken or the database fails.
pub async fn update(
    conn: &impl ConnectionTrait,
    _: &Counted,
    id: ProjectId,
    values: ActiveModel,
) -> Result<(), sea_orm::DbErr> {
    Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes a project with everything that belongs to it.
///
/// # Errors
/// When the database fails.
pub async fn delete(conn: &impl ConnectionTrait, id: ProjectId) -> Result<()> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}

/// One user's role in one project.
///
/// # Errors
/// When the database fails.
pub async fn role(
    conn: &impl ConnectionTrait,
    project: ProjectId,
    user: UserId,
) -> Result<Option<ProjectRole>> {
    let row = membership::Entity::find()
        .filter(membership::Column::ProjectId.eq(project))
        .filter(membership::Column::UserId.eq(user))
        .one(conn)
        .await?;
    Ok(row.map(|row| row.role))
}

/// The projects that a user belongs to.
///
/// # Errors
/// When the database fails.
pub async fn of_user(conn: &impl ConnectionTrait, user: UserId) -> Result<Vec<ProjectId>> {
    Ok(membership::Entity::find()
        .select_only()
        .column(membership::Column::ProjectId)
        .filter(membership::Column::UserId.eq(user))
        .into_tuple()
        .all(conn)
        .await?)
}

/// A project's members.
///
/// # Errors
/// When the database fails.
pub async fn members(
    conn: &impl ConnectionTrait,
    project: ProjectId,
) -> Result<Vec<membership::Model>> {
    Ok(membership::Entity::find()
        .filter(membership::Column::ProjectId.eq(project))
        .order_by_asc(membership::Column::UserId)
        .all(conn)
        .await?)
}

/// The memberships of these accounts, by project.
///
/// # Errors
/// When the database fails.
pub async fn memberships(
    conn: &impl ConnectionTrait,
    users: &[UserId],
) -> Result<Vec<membership::Model>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    Ok(membership::Entity::find()
        .filter(membership::Column::UserId.is_in(users.iter().copied()))
        .order_by_asc(membership::Column::ProjectId)
        .all(conn)
        .await?)
}

/// How many Owners a project has.
///
/// # Errors
/// When the database fails.
pub async fn count_owners(conn: &impl ConnectionTrait, project: ProjectId) -> Result<u64> {
    Ok(membership::Entity::find()
        .filter(membership::Column::ProjectId.eq(project))
        .filter(membership::Column::Role.eq(ProjectRole::Owner))
        .count(conn)
        .await?)
}

/// Gives a user a role in a project.
///
/// # Errors
/// When the database fails.
pub async fn set_role(
    tx: &impl ConnectionTrait,
    _: &Counted,
    who: (ProjectId, UserId),
    role: ProjectRole,
    now: DateTime<Utc>,
) -> Result<(), sea_orm::DbErr> {
    write_role(tx, who, role, now).await
}

async fn write_role(
    tx: &impl ConnectionTrait,
    (project, user): (ProjectId, UserId),
    role: ProjectRole,
    now: DateTime<Utc>,
) -> Result<(), sea_orm::DbErr> {
    let row = membership::ActiveModel {
        project_id: Set(project),
        user_id: Set(user),
        role: Set(role),
        created_at: Set(now),
        ..membership::ActiveModel::default()
    };
    let again = sea_orm::sea_query::OnConflict::columns([
        membership::Column::ProjectId,
        membership::Column::UserId,
    ])
    .update_column(membership::Column::Role)
    .to_owned();
    membership::Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Ends a membership; false when there was none.
///
/// # Errors
/// When the database fails.
pub async fn remove_member(
    tx: &impl ConnectionTrait,
    _: &Counted,
    project: ProjectId,
    user: UserId,
) -> Result<bool> {
    let deleted = membership::Entity::delete_many()
        .filter(membership::Column::ProjectId.eq(project))
        .filter(membership::Column::UserId.eq(user))
        .exec(tx)
        .await?;
    Ok(deleted.rows_affected > 0)
}

/// Locks a project's row until the transaction ends: two changes to its members queue up, and no
/// deployment is added to it meanwhile, because that locks the row too.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &impl ConnectionTrait, project: ProjectId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Slug, Expr::col(Column::Slug))
        .filter(Column::Id.eq(project))
        .exec(tx)
        .await?;
    Ok(())
}
