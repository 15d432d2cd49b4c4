//! What senders take: for each channel the next message, while nobody else sends there.
//!
//! The channel's row is the lease. Messages of a channel go in order; one that has failed some times
//! lets the others pass. While a provider's circuit is open nothing of it is taken but tests, and one
//! message once the time is over.

use std::time::Duration;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QuerySelect as _, Statement, sea_query::Expr,
};

use super::{compose::random_key, next};
use crate::{
    ctx::Ctx,
    db::{after_us, now_us},
    deployment::store::claim::clock,
    error::Result,
    fail,
    id::ChannelId,
    notify::{
        channel,
        delivery::{
            entity::{Column, Entity, Model},
            service::told_with,
            state::{IN_ORDER, State},
        },
        event::Event,
        notice::Notice,
        provider::{self, Values},
    },
};

/// How long a channel is a sender's: longer than any provider takes.
pub const LEASE: Duration = Duration::from_secs(45);
/// How long the one message that tries an open circuit keeps others from trying.
const PROBE: Duration = Duration::from_secs(30);

/// One message that is this sender's now.
#[derive(Debug)]
pub struct Job {
    /// Its delivery, as it was taken.
    pub row: Model,
    /// What is told.
    pub notice: Notice,
    /// Where.
    pub channel: channel::entity::Model,
    /// With which provider.
    pub provider: provider::entity::Model,
    /// The lease's proof.
    pub token: String,
}

/// Channels that may have something to send and that nobody sends to, those that work first.
///
/// # Errors
/// When the database fails.
pub async fn due(conn: &impl ConnectionTrait, limit: u64) -> Result<Vec<(ChannelId, bool)>> {
    let backend = conn.get_database_backend();
    let now = if backend == sea_orm::DbBackend::Sqlite {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    } else {
        "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"
    };
    let sql = format!(
        "SELECT d.channel_id AS id, MAX(c.failures) AS failures FROM deliveries d \
         JOIN channels c ON c.id = d.channel_id JOIN providers p ON p.id = c.provider_id \
         JOIN notices n ON n.id = d.notice_id \
         WHERE d.state IN ('pending', 'sending') AND d.next_us <= {now} AND c.lease_until <= {now} \
         AND (p.open_until_us IS NULL OR p.open_until_us <= {now} OR n.event = 'test' \
         OR p.disabled OR c.disabled) \
         AND (n.event = 'test' OR NOT EXISTS (SELECT 1 FROM deliveries h \
         WHERE h.channel_id = d.channel_id AND h.state = 'pending' AND h.id < d.id \
         AND h.tries BETWEEN 1 AND {IN_ORDER} AND h.next_us > {now})) \
         GROUP BY d.channel_id ORDER BY MAX(c.failures), MIN(d.next_us) LIMIT {limit}"
    );
    let rows = conn
        .query_all_raw(Statement::from_string(backend, sql))
        .await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        let failures: i64 = row.try_get("", "failures")?;
        due.push((row.try_get("", "id")?, failures > 0));
    }
    Ok(due)
}

/// Takes the next message of a channel; nothing when there is none, or another one sends there.
///
/// # Errors
/// When the database fails; nobody knows then whether it was taken, and the lease runs out.
pub async fn take(ctx: &Ctx, id: ChannelId) -> Result<Option<Job>> {
    crate::db::retried(|| take_once(ctx, id)).await
}

async fn take_once(ctx: &Ctx, id: ChannelId) -> Result<Option<Job>> {
    let token = random_key()?;
    let tx = ctx.db.begin().await?;
    if !lease(&tx, id, &token).await? {
        return Ok(None);
    }
    let Some(channel) = channel::store::find(&tx, id).await? else {
        return Ok(None);
    };
    let of = provider::store::find(&tx, channel.provider_id).await?;
    let Some(provider) = of else {
        return Ok(None);
    };
    if channel.disabled || provider.disabled {
        drop_waiting(&tx, id).await?;
        release(&tx, id, &token).await?;
        tx.commit().await?;
        return Ok(None);
    }
    let now_us = clock(&tx).await?;
    let may_be_sent = provider.open_until_us.is_none_or(|until| until <= now_us);
    let found = next::next(ctx, &tx, id, (may_be_sent, now_us)).await?;
    let Some((row, told)) = found.message else {
        // If nothing was put off, dropping the transaction gives the lease back.
        if found.put_off {
            release(&tx, id, &token).await?;
            tx.commit().await?;
        }
        return Ok(None);
    };
    let is_test = told.event == Event::Test.as_str();
    // Only now that there is a message, as nobody else tries the circuit for a while.
    if !is_test && !probe(&tx, &provider, now_us).await? {
        return Ok(None);
    }
    let row = begin(&tx, row).await?;
    fail::point("notify.before_claim");
    tx.commit().await?;
    fail::point("notify.after_claim");
    Ok(Some(Job {
        notice: told_with(&told, row.folded)?,
        row,
        channel,
        provider,
        token,
    }))
}

async fn lease(tx: &impl ConnectionTrait, id: ChannelId, token: &str) -> Result<bool> {
    use channel::entity::{Column, Entity};
    let backend = tx.get_database_backend();
    let leased = Entity::update_many()
        .col_expr(Column::LeaseToken, Expr::value(token))
        .col_expr(Column::LeaseUntil, after_us(backend, LEASE))
        .filter(Column::Id.eq(id))
        .filter(Expr::col(Column::LeaseUntil).lte(now_us(backend)))
        .exec(tx)
        .await?;
    Ok(leased.rows_affected == 1)
}

/// Gives a channel back; false when it was another sender's already.
///
/// # Errors
/// When the database fails.
pub async fn release(tx: &impl ConnectionTrait, id: ChannelId, token: &str) -> Result<bool> {
    use channel::entity::{Column, Entity};
    let released = Entity::update_many()
        .col_expr(Column::LeaseUntil, Expr::value(0_i64))
        .col_expr(
            Column::LeaseToken,
            Expr::value(sea_orm::Value::String(None)),
        )
        .filter(Column::Id.eq(id))
        .filter(Column::LeaseToken.eq(token))
        .exec(tx)
        .await?;
    Ok(released.rows_affected == 1)
}

/// Whether this sender is the one that tries whether an open circuit can be closed.
async fn probe(
    tx: &impl ConnectionTrait,
    of: &provider::entity::Model,
    now_us: i64,
) -> Result<bool> {
    use provider::entity::{Column, Entity};
    let Some(until) = of.open_until_us.filter(|until| *until <= now_us) else {
        return Ok(of.open_until_us.is_none());
    };
    let backend = tx.get_database_backend();
    let probing = Entity::update_many()
        .col_expr(Column::OpenUntilUs, after_us(backend, PROBE))
        .filter(Column::Id.eq(of.id))
        .filter(Column::OpenUntilUs.eq(until))
        .exec(tx)
        .await?;
    Ok(probing.rows_affected == 1)
}

async fn begin(tx: &impl ConnectionTrait, row: Model) -> Result<Model> {
    let row = Model {
        state: State::Sending,
        tries: row.tries + 1,
        ..row
    };
    Entity::update_many()
        .col_expr(Column::State, Expr::value(row.state))
        .col_expr(Column::Tries, Expr::value(row.tries))
        .col_expr(Column::Folded, Expr::value(row.folded))
        .filter(Column::Id.eq(row.id))
        .exec(tx)
        .await?;
    Ok(row)
}

async fn drop_waiting(tx: &impl ConnectionTrait, id: ChannelId) -> Result<()> {
    let why = "The channel or its provider was switched off before this was sent.";
    Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Dropped))
        .col_expr(Column::Answer, Expr::value(why))
        .col_expr(Column::EndedUs, now_us(tx.get_database_backend()))
        .filter(Column::ChannelId.eq(id))
        .filter(Column::State.is_in([State::Pending, State::Sending]))
        .exec(tx)
        .await?;
    Ok(())
}

/// What a provider and a channel hold, decrypted for this one attempt.
#[derive(Debug)]
pub struct Opened {
    /// The provider's values.
    pub provider: Values,
    /// The channel's values.
    pub channel: Values,
}

/// Decrypts what a message needs.
///
/// # Errors
/// When a value was altered, its key is not here, or the database fails.
pub async fn open(ctx: &Ctx, job: &Job) -> Result<Opened> {
    let conn = ctx.db.reader();
    Ok(Opened {
        provider: provider::service::opened(ctx, conn, &job.provider).await?,
        channel: channel::service::opened(ctx, conn, &job.channel).await?,
    })
}

/// What is left to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that are not delivered yet.
    pub waiting: u64,
    /// How long the oldest of them has waited, in microseconds.
    pub oldest_us: u64,
    /// Providers with which nothing is sent for a while.
    pub circuits_open: u64,
}

/// What is left to send.
///
/// # Errors
/// When the database fails.
pub async fn backlog(ctx: &Ctx) -> Result<Backlog> {
    let conn = ctx.db.reader();
    let now = clock(conn).await?;
    let (waiting, oldest): (i64, Option<i64>) = Entity::find()
        .select_only()
        .column_as(Column::Id.count(), "waiting")
        .column_as(Column::CreatedUs.min(), "oldest")
        .filter(Column::State.is_in([State::Pending, State::Sending]))
        .into_tuple()
        .one(conn)
        .await?
        .unwrap_or_default();
    let open: Option<i64> = provider::entity::Entity::find()
        .select_only()
        .column_as(provider::entity::Column::Id.count(), "open")
        .filter(provider::entity::Column::OpenUntilUs.is_not_null())
        .into_tuple()
        .one(conn)
        .await?;
    let age = oldest.map_or(0, |oldest| now - oldest);
    Ok(Backlog {
        waiting: waiting.unsigned_abs(),
        oldest_us: u64::try_from(age).unwrap_or_default(),
        circuits_open: open.unwrap_or_default().unsigned_abs(),
    })
}
