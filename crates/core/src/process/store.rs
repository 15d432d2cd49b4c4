//! Processes in the database; system-only.

use std::time::Duration;

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::Expr,
};

use super::{
    entity::{ActiveModel, Column, Entity, Model, ProcessKind},
    me::Process,
};
use crate::{
    db::{after_us, micros, now_us},
    deployment::store::claim::clock,
    error::Result,
    settings::Settings,
    vault::ring::KeyRing,
};

/// Says that this process lives, and how it stands. False when it is not known (any more).
///
/// # Errors
/// When the database fails.
pub async fn announce(conn: &impl ConnectionTrait, me: &Process, keys: &KeyRing) -> Result<bool> {
    let counters = serde_json::to_string(&me.counters.read())?;
    let key_versions = serde_json::to_string(&keys.versions())?;
    let seen = Entity::update_many()
        .col_expr(Column::SeenUs, now_us(conn.get_database_backend()))
        .col_expr(Column::Draining, Expr::value(me.is_draining()))
        .col_expr(Column::Counters, Expr::value(counters))
        .col_expr(Column::KeyVersions, Expr::value(key_versions))
        .filter(Column::Name.eq(me.name.as_str()))
        .exec(conn)
        .await?;
    Ok(seen.rows_affected > 0)
}

/// Adds this process to those that are known.
///
/// # Errors
/// When the database fails.
pub async fn join(
    conn: &impl ConnectionTrait,
    (me, kind): (&Process, ProcessKind),
    settings: &Settings,
    keys: &KeyRing,
) -> Result<()> {
    let concurrency = match kind {
        ProcessKind::Api => 0,
        ProcessKind::Worker | ProcessKind::Up => i64::from(settings.queue.max_concurrency),
    };
    let row = ActiveModel {
        id: NotSet,
        name: Set(me.name.clone()),
        kind: Set(kind),
        host: Set(me.host.clone()),
        pid: Set(i64::from(std::process::id())),
        version: Set(env!("CARGO_PKG_VERSION").to_owned()),
        started_at: Set(me.started_at),
        seen_us: Set(clock(conn).await?),
        concurrency: Set(concurrency),
        draining: Set(me.is_draining()),
        labels: Set(serde_json::to_string(&settings.worker.labels)?),
        counters: Set(serde_json::to_string(&me.counters.read())?),
        key_versions: Set(Some(serde_json::to_string(&keys.versions())?)),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

/// Removes a process that has ended.
///
/// # Errors
/// When the database fails.
pub async fn remove(conn: &impl ConnectionTrait, name: &str) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Name.eq(name))
        .exec(conn)
        .await?;
    Ok(())
}

/// Removes processes that nothing was heard of for that long.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &impl ConnectionTrait, unseen: Duration) -> Result<u64> {
    let since = now_us(conn.get_database_backend()).sub(micros(unseen));
    let removed = Entity::delete_many()
        .filter(Expr::col(Column::SeenUs).lt(since))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}

/// Every process that is known, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find().order_by_asc(Column::Id).all(conn).await?)
}

/// What the workers that live can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// How many workers take deployments.
    pub workers: u64,
    /// How many deployments they run at once.
    pub places: u64,
}

/// What the workers that were seen within this time can do.
///
/// # Errors
/// When the database fails.
pub async fn capacity(conn: &impl ConnectionTrait, within: Duration) -> Result<Capacity> {
    let live: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::Concurrency)
        .filter(Column::Kind.ne(ProcessKind::Api))
        .filter(Column::Draining.eq(false))
        .filter(
            Expr::expr(after_us(conn.get_database_backend(), Duration::ZERO))
                .lt(Expr::col(Column::SeenUs).add(micros(within))),
        )
        .into_tuple()
        .all(conn)
        .await?;
    let places: i64 = live.iter().sum();
    Ok(Capacity {
        workers: live.len() as u64,
        places: places.unsigned_abs(),
    })
}
