//! Deliveries in the database, as people see them; system-only. What senders do is in `outbox`.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, Query, Value},
};

use super::{
    entity::{Column, Entity, Model, notice},
    state::{State, WAITS_FOR},
};
use crate::{
    db::{micros, now_us},
    deployment::store::claim::clock,
    error::Result,
    id::{ChannelId, DeliveryId, DeploymentId, NoticeId, ProjectId},
};

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of these projects.
    pub projects: Option<Vec<ProjectId>>,
    /// Only of this deployment.
    pub deployment: Option<DeploymentId>,
    /// Only of this channel.
    pub channel: Option<ChannelId>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only older than this one.
    pub before: Option<DeliveryId>,
}

/// Deliveries, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, filter: &Filter, limit: u64) -> Result<Vec<Model>> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if filter.projects.is_some() || filter.deployment.is_some() {
        let mut notices = Query::select();
        notices.column(notice::Column::Id).from(notice::Entity);
        if let Some(projects) = &filter.projects {
            let within = notice::Column::ProjectId.is_in(projects.iter().copied());
            notices.and_where(within);
        }
        if let Some(deployment) = filter.deployment {
            notices.and_where(notice::Column::DeploymentId.eq(deployment));
        }
        query = query.filter(Column::NoticeId.in_subquery(notices));
    }
    if let Some(channel) = filter.channel {
        query = query.filter(Column::ChannelId.eq(channel));
    }
    if let Some(state) = filter.state {
        query = query.filter(Column::State.eq(state));
    }
    if let Some(before) = filter.before {
        query = query.filter(Column::Id.lt(before));
    }
    Ok(query.all(conn).await?)
}

/// One delivery.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, id: DeliveryId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// These notices.
///
/// # Errors
/// When the database fails.
pub async fn notices(
    conn: &impl ConnectionTrait,
    ids: impl Iterator<Item = NoticeId>,
) -> Result<Vec<notice::Model>> {
    Ok(notice::Entity::find()
        .filter(notice::Column::Id.is_in(ids))
        .all(conn)
        .await?)
}

/// The first delivery of a notice.
///
/// # Errors
/// When the database fails.
pub async fn of_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<DeliveryId>> {
    let notice = Query::select()
        .column(notice::Column::Id)
        .from(notice::Entity)
        .and_where(notice::Column::Uid.eq(uid))
        .to_owned();
    Ok(Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::NoticeId.in_subquery(notice))
        .order_by_asc(Column::Id)
        .into_tuple()
        .one(conn)
        .await?)
}

/// Gives up a delivery that waits. False when it does not wait any more.
///
/// # Errors
/// When the database fails.
pub async fn give_up(conn: &impl ConnectionTrait, id: DeliveryId, why: &str) -> Result<bool> {
    let given_up = end_waiting(conn, &[id], (State::Dropped, why)).await?;
    Ok(given_up > 0)
}

/// Ends those of these deliveries that still wait, as a sender may have taken some meanwhile; answers
/// how many.
async fn end_waiting(
    conn: &impl ConnectionTrait,
    ids: &[DeliveryId],
    (state, why): (State, &str),
) -> Result<u64> {
    let updated = Entity::update_many()
        .col_expr(Column::State, Expr::value(state))
        .col_expr(Column::Answer, Expr::value(why))
        .col_expr(Column::EndedUs, now_us(conn.get_database_backend()))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::State.eq(State::Pending))
        .exec(conn)
        .await?;
    Ok(updated.rows_affected)
}

/// Has a delivery that has ended sent once more, under another key. False when it had not ended.
///
/// # Errors
/// When the database fails.
pub async fn again(conn: &impl ConnectionTrait, id: DeliveryId, key: &str) -> Result<bool> {
    let now = now_us(conn.get_database_backend());
    let open = [State::Pending, State::Sending];
    let updated = Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Pending))
        .col_expr(Column::Tries, Expr::value(0_i64))
        .col_expr(Column::NextUs, now.clone())
        .col_expr(Column::CreatedUs, now)
        .col_expr(Column::Key, Expr::value(key))
        .col_expr(Column::Fold, Expr::value(Value::String(None)))
        .col_expr(Column::FoldedInto, Expr::value(Value::BigInt(None)))
        .col_expr(Column::EndedUs, Expr::value(Value::BigInt(None)))
        .filter(Column::Id.eq(id))
        .filter(Expr::col(Column::State).is_not_in(open))
        .exec(conn)
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Gives up messages that have waited for longer than they are tried, some at a time; answers how many.
async fn give_up_late(conn: &impl ConnectionTrait, some: u64) -> Result<u64> {
    let before_us = clock(conn).await? - micros(WAITS_FOR);
    let ids: Vec<DeliveryId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::State.eq(State::Pending))
        .filter(Column::CreatedUs.lt(before_us))
        .limit(some)
        .into_tuple()
        .all(conn)
        .await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let why = "It could not be sent for so long that it is not sent any more.";
    end_waiting(conn, &ids, (State::Failed, why)).await
}

/// Gives up what has waited for too long, and removes notices that are older than this and of which
/// nothing is left to send, some at a time; answers how many were removed.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &impl ConnectionTrait, before_us: i64, some: u64) -> Result<u64> {
    while give_up_late(conn, some).await? > 0 {}
    let open = Query::select()
        .column(Column::NoticeId)
        .from(Entity)
        .and_where(Column::State.is_in([State::Pending, State::Sending]))
        .to_owned();
    let ids: Vec<NoticeId> = notice::Entity::find()
        .select_only()
        .column(notice::Column::Id)
        .filter(notice::Column::CreatedUs.lt(before_us))
        .filter(notice::Column::Id.not_in_subquery(open))
        .order_by_asc(notice::Column::CreatedUs)
        .limit(some)
        .into_tuple()
        .all(conn)
        .await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let removed = notice::Entity::delete_many()
        .filter(notice::Column::Id.is_in(ids))
        .exec(conn)
        .await?;
    Ok(removed.rows_affected)
}
