//! Locks in the database; system-only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, SimpleExpr},
};

use super::{
    covering::{Lock, Locks, Scope},
    entity::{ActiveModel, Column, Entity, Model},
};
use crate::{
    account,
    db::now_us,
    deployment::store::revision::Counted,
    error::Result,
    id::{LockId, ProjectId, TargetId, UserId},
    project::entity as project,
    target::entity as target,
};

/// A lock as it is asked for.
#[derive(Clone, Debug)]
pub struct NewLock {
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: UserId,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Puts a lock in the place of an earlier one. Must run in a transaction.
///
/// It holds the rows of the projects, so that no target is added meanwhile, and of the targets that
/// it covers: a claim holds its target's row while it looks for locks, so each claim either sees
/// this lock or had started before it was answered.
///
/// # Errors
/// When the database fails.
pub async fn put(
    tx: &impl ConnectionTrait,
    _: &Counted,
    lock: &NewLock,
    now: DateTime<Utc>,
) -> Result<()> {
    let touched = (project::Column::Slug, target::Column::Slug);
    let mut projects = project::Entity::update_many().col_expr(touched.0, Expr::col(touched.0));
    let mut targets = target::Entity::update_many().col_expr(touched.1, Expr::col(touched.1));
    let (project_id, target_id) = match lock.scope {
        Scope::Everything => (None, None),
        Scope::Project(project) => (Some(project), None),
        Scope::Target(project, target) => (Some(project), Some(target)),
    };
    if let Some(id) = project_id {
        projects = projects.filter(project::Column::Id.eq(id));
        targets = targets.filter(target::Column::ProjectId.eq(id));
    }
    if let Some(id) = target_id {
        targets = targets.filter(target::Column::Id.eq(id));
    }
    projects.exec(tx).await?;
    targets.exec(tx).await?;
    remove(tx, lock.scope).await?;
    let row = ActiveModel {
        id: NotSet,
        covers: Set(lock.scope.to_string()),
        project_id: Set(project_id),
        target_id: Set(target_id),
        reason: Set(lock.reason.clone()),
        locked_by: Set(Some(lock.by)),
        created_at: Set(now),
        expires_us: Set(lock.expires_at.map(|moment| moment.timestamp_micros())),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Lifts the lock of a scope; false when there was none.
///
/// # Errors
/// When the database fails.
pub async fn remove(conn: &impl ConnectionTrait, scope: Scope) -> Result<bool> {
    let removed = Entity::delete_many()
        .filter(Column::Covers.eq(scope.to_string()))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected > 0)
}

/// The lock of a scope, whether it still holds or not.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, scope: Scope) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::Covers.eq(scope.to_string()))
        .one(conn)
        .await?)
}

/// Locks that have expired, some at a time.
///
/// # Errors
/// When the database fails.
pub async fn expired(conn: &impl ConnectionTrait) -> Result<Vec<Model>> {
    let now = now_us(conn.get_database_backend());
    Ok(Entity::find()
        .filter(Expr::col(Column::ExpiresUs).lte(now))
        .order_by_asc(Column::Id)
        .limit(100)
        .all(conn)
        .await?)
}

/// Removes one lock, unless another process was first.
///
/// # Errors
/// When the database fails.
pub async fn remove_one(conn: &impl ConnectionTrait, id: LockId) -> Result<bool> {
    Ok(Entity::delete_by_id(id).exec(conn).await?.rows_affected > 0)
}

/// Every lock that holds now, on the database's clock.
///
/// # Errors
/// When the database fails.
pub async fn active(conn: &impl ConnectionTrait) -> Result<Locks> {
    let rows = Entity::find()
        .filter(holds(conn))
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    if rows.is_empty() {
        return Ok(Locks::default());
    }
    let by: Vec<UserId> = rows.iter().filter_map(|row| row.locked_by).collect();
    let people = account::store::find_users(conn, &by).await?;
    let name = |id: Option<UserId>| {
        let person = people.iter().find(|person| Some(person.id) == id);
        person.map(|person| person.name.clone())
    };
    let locks = rows.into_iter().map(|row| {
        let by = name(row.locked_by);
        Lock::new(row, by)
    });
    Ok(Locks(locks.collect()))
}

fn holds(conn: &impl ConnectionTrait) -> SimpleExpr {
    let now = now_us(conn.get_database_backend());
    Expr::col(Column::ExpiresUs)
        .is_null()
        .or(Expr::col(Column::ExpiresUs).gt(now))
}

/// What is locked now, and for how long; with no time, until somebody lifts the lock.
pub type Left = Vec<(String, Option<Duration>)>;

/// Every lock that holds now, on the database's clock.
///
/// # Errors
/// When the database fails.
pub async fn left(conn: &impl ConnectionTrait) -> Result<Left> {
    let now = now_us(conn.get_database_backend());
    let rows: Vec<(String, Option<i64>)> = Entity::find()
        .select_only()
        .column(Column::Covers)
        .expr_as(Expr::col(Column::ExpiresUs).sub(now), "left_us")
        .filter(holds(conn))
        .into_tuple()
        .all(conn)
        .await?;
    let left = rows.into_iter().map(|(covers, micros)| {
        let left = micros.map(|micros| u64::try_from(micros).unwrap_or_default());
        (covers, left.map(Duration::from_micros))
    });
    Ok(left.collect())
}

/// How long a target stays locked by these; nothing when none of them covers it.
#[must_use]
pub fn longest(locks: &Left, project: ProjectId, target: TargetId) -> Option<Option<Duration>> {
    if locks.is_empty() {
        return None;
    }
    let scopes = Scope::around(project, target).map(|scope| scope.to_string());
    let covering = locks.iter().filter(|(covers, _)| scopes.contains(covers));
    // For ever is longer than any time.
    covering
        .map(|(_, left)| *left)
        .max_by_key(|left| left.unwrap_or(Duration::MAX))
}
