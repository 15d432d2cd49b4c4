//! The audit trail in the database; system-only.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityTrait as _, ExprTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    Select, Statement,
    sea_query::Expr,
};

use super::{
    entity::{Column, Entity, Model, chain, seal},
    trail::CHAIN,
};
use crate::{
    error::Result,
    id::{AuditId, ProjectId, UserId},
};

/// Rows of one statement: SQLite takes 32,766 values in one, a row has 17.
const ROWS_MAX: usize = 1_000;

/// Inserts entries; the database gives their ids.
///
/// # Errors
/// When the database fails.
pub(super) async fn insert(tx: &impl ConnectionTrait, rows: Vec<Model>) -> Result<()> {
    for insertion in insertions(tx.get_database_backend(), rows) {
        tx.execute_raw(insertion).await?;
    }
    Ok(())
}

/// The statements that insert entries.
pub(super) fn insertions(backend: DbBackend, rows: Vec<Model>) -> Vec<Statement> {
    let mut values = rows.into_iter().map(|row| super::entity::ActiveModel {
        id: NotSet,
        ..row.into_active_model().reset_all()
    });
    let mut insertions = Vec::new();
    loop {
        let some: Vec<_> = values.by_ref().take(ROWS_MAX).collect();
        if some.is_empty() {
            return insertions;
        }
        insertions.push(Entity::insert_many(some).build(backend));
    }
}

/// The ends of the chain.
///
/// # Errors
/// When the database fails.
pub(super) async fn chain(conn: &impl ConnectionTrait) -> Result<Option<chain::Model>> {
    Ok(chain::Entity::find_by_id(CHAIN).one(conn).await?)
}

/// Begins the chain of a new database.
///
/// # Errors
/// When another process was first, or the database fails.
pub(super) async fn insert_chain(
    conn: &impl ConnectionTrait,
    values: chain::ActiveModel,
) -> Result<(), DbErr> {
    chain::Entity::insert(values)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// The chain, held until the transaction ends: one process at a time seals or prunes.
///
/// # Errors
/// When the database fails.
pub(super) async fn lock_chain(tx: &impl ConnectionTrait) -> Result<Option<chain::Model>> {
    chain::Entity::update_many()
        .col_expr(chain::Column::Head, Expr::col(chain::Column::Head))
        .filter(chain::Column::Id.eq(CHAIN))
        .exec(tx)
        .await?;
    chain(tx).await
}

/// Writes where the chain ends and begins.
///
/// # Errors
/// When the database fails.
pub(super) async fn write_head(tx: &impl ConnectionTrait, head: &str, mac: &[u8]) -> Result<()> {
    let values = chain::ActiveModel {
        head: Set(head.to_owned()),
        head_mac: Set(mac.to_vec()),
        ..Default::default()
    };
    chain::Entity::update_many()
        .set(values)
        .filter(chain::Column::Id.eq(CHAIN))
        .exec(tx)
        .await?;
    Ok(())
}

/// Whether an entry waits for its seal.
///
/// # Errors
/// When the database fails.
pub(super) async fn has_unsealed(conn: &impl ConnectionTrait) -> Result<bool> {
    let found: Option<i64> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Seal.is_null())
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?;
    Ok(found.is_some())
}

/// Entries that wait for their seal, in order of id.
///
/// # Errors
/// When the database fails.
pub(super) async fn unsealed(
    tx: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<(AuditId, Vec<u8>)>> {
    Ok(Entity::find()
        .select_only()
        .columns([Column::Id, Column::Mac])
        .filter(Column::Seal.is_null())
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(tx)
        .await?)
}

/// The same with all that they say, above `after`.
///
/// # Errors
/// When the database fails.
pub(super) async fn unsealed_rows(
    conn: &impl ConnectionTrait,
    after: AuditId,
    limit: u64,
) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Seal.is_null())
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// Writes a link of the chain and notes it on its members.
///
/// # Errors
/// When the database fails.
pub(super) async fn insert_seal(
    tx: &impl ConnectionTrait,
    row: seal::Model,
    members: &[AuditId],
) -> Result<()> {
    let number = row.id;
    seal::Entity::insert(row.into_active_model().reset_all())
        .exec_without_returning(tx)
        .await?;
    Entity::update_many()
        .col_expr(Column::Seal, Expr::value(number))
        .filter(Column::Id.is_in(members.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Links of the chain after this one, in order.
///
/// # Errors
/// When the database fails.
pub(super) async fn seals(
    conn: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<seal::Model>> {
    Ok(seal::Entity::find()
        .filter(seal::Column::Id.gt(after))
        .order_by_asc(seal::Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// The entries that are, or say that they are, members of a link.
///
/// # Errors
/// When the database fails.
pub(super) async fn of_seal(
    conn: &impl ConnectionTrait,
    number: i64,
    members: &[AuditId],
) -> Result<Vec<Model>> {
    let mut rows = Entity::find()
        .filter(Column::Id.is_in(members.iter().copied()))
        .all(conn)
        .await?;
    let strangers = Entity::find()
        .filter(Column::Seal.eq(number))
        .filter(Column::Id.is_not_in(members.iter().copied()))
        .all(conn)
        .await?;
    rows.extend(strangers);
    Ok(rows)
}

/// Entries that name a link outside of the chain.
///
/// # Errors
/// When the database fails.
pub(super) async fn astray(
    conn: &impl ConnectionTrait,
    (first, last): (i64, i64),
) -> Result<Vec<(AuditId, i64)>> {
    Ok(Entity::find()
        .select_only()
        .columns([Column::Id, Column::Seal])
        .filter(Column::Seal.lt(first).or(Column::Seal.gt(last)))
        .limit(1_000)
        .into_tuple()
        .all(conn)
        .await?)
}

/// Entries whose proof another entry has too: one of them is a copy.
///
/// # Errors
/// When the database fails.
pub(super) async fn copies(conn: &impl ConnectionTrait) -> Result<Vec<AuditId>> {
    Ok(Entity::find()
        .select_only()
        .expr(Expr::col(Column::Id).max())
        .group_by(Column::Mac)
        .having(Expr::col(Column::Id).count().gt(1))
        .limit(1_000)
        .into_tuple()
        .all(conn)
        .await?)
}

/// Removes the entries of a link, and the link.
///
/// # Errors
/// When the database fails.
pub(super) async fn delete_seal(tx: &impl ConnectionTrait, number: i64) -> Result<u64> {
    let deleted = Entity::delete_many()
        .filter(Column::Seal.eq(number))
        .exec(tx)
        .await?;
    seal::Entity::delete_by_id(number).exec(tx).await?;
    Ok(deleted.rows_affected)
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only by this account.
    pub actor: Option<UserId>,
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only this action, or every action whose name begins with it and a dot.
    pub action: Option<String>,
    /// Only about this kind of thing.
    pub object_kind: Option<String>,
    /// Only about the thing with this id.
    pub object_id: Option<i64>,
    /// Only those with this in the address of the actor or the name of the thing.
    pub text: Option<String>,
    /// Only from this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this moment.
    pub to: Option<DateTime<Utc>>,
}

fn filtered(filter: &Filter) -> Select<Entity> {
    let mut query = Entity::find();
    if let Some(actor) = filter.actor {
        query = query.filter(Column::ActorId.eq(actor));
    }
    if let Some(project) = filter.project {
        query = query.filter(Column::ProjectId.eq(project));
    }
    if let Some(action) = &filter.action {
        let below = Column::Action.starts_with(format!("{action}."));
        query = query.filter(Column::Action.eq(action).or(below));
    }
    if let Some(kind) = &filter.object_kind {
        query = query.filter(Column::ObjectKind.eq(kind));
    }
    if let Some(id) = filter.object_id {
        query = query.filter(Column::ObjectId.eq(id));
    }
    if let Some(text) = &filter.text {
        let named = Column::Actor
            .contains(text)
            .or(Column::Object.contains(text));
        query = query.filter(named);
    }
    if let Some(from) = filter.from {
        query = query.filter(Column::At.gte(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(Column::At.lt(to));
    }
    query
}

/// Entries, newest first, below `before`.
///
/// # Errors
/// When the database fails.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    filter: &Filter,
    before: Option<AuditId>,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = filtered(filter).order_by_desc(Column::Id).limit(limit);
    if let Some(before) = before {
        query = query.filter(Column::Id.lt(before));
    }
    Ok(query.all(conn).await?)
}

/// Entries, oldest first, above `after`.
///
/// # Errors
/// When the database fails.
pub(super) async fn list_on(
    conn: &impl ConnectionTrait,
    filter: &Filter,
    after: AuditId,
    limit: u64,
) -> Result<Vec<Model>> {
    Ok(filtered(filter)
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}
