//! What senders take: for each channel the next message, while nobody else sends there.
//!
//! The channel's row is the lease. Messages of a channel go in order; one that has failed some times
//! lets the others pass. While a provider's circuit is open nothing of it is taken but tests, and one
//! message once the time is over.

use std::time::Duration;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, sea_query::Expr,
};

use super::compose::random_key;
use crate::{
    ctx::Ctx,
    db::{after_us, now_us},
    deployment::store::claim::clock,
    error::Result,
    fail,
    id::{ChannelId, DeliveryId},
    notify::{
        channel,
        delivery::{
            entity::{Column, Entity, Model, notice},
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
/// Waiting messages of a channel that are looked at.
const LOOKED_AT: u64 = 200;

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
    let waiting = waiting(&tx, id).await?;
    let is_open = provider.open_until_us.is_some();
    let chosen = choose(&waiting, now_us);
    // Dropping the transaction gives the lease back.
    let Some((row, told)) = chosen else {
        return Ok(None);
    };
    let is_test = told.event == Event::Test.as_str();
    if is_open && !is_test && !probe(&tx, &provider, now_us).await? {
        return Ok(None);
    }
    let Some((row, told)) = fold(ctx, &tx, (row, told), (&waiting, now_us)).await? else {
        release(&tx, id, &token).await?;
        tx.commit().await?;
        return Ok(None);
    };
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

async fn waiting(tx: &impl ConnectionTrait, id: ChannelId) -> Result<Vec<(Model, notice::Model)>> {
    let rows = Entity::find()
        .filter(Column::ChannelId.eq(id))
        .filter(Column::State.is_in([State::Pending, State::Sending]))
        .order_by_asc(Column::Id)
        .limit(LOOKED_AT)
        .all(tx)
        .await?;
    let ids = rows.iter().map(|row| row.notice_id);
    let notices = crate::notify::delivery::store::notices(tx, ids).await?;
    let both = rows.into_iter().filter_map(|row| {
        let told = notices.iter().find(|told| told.id == row.notice_id)?;
        Some((row, told.clone()))
    });
    Ok(both.collect())
}

/// The message that is next: a test before all others, and the others in order. Pure.
fn choose(waiting: &[(Model, notice::Model)], now_us: i64) -> Option<(Model, notice::Model)> {
    let is_due = |row: &Model| row.state == State::Sending || row.next_us <= now_us;
    let test = waiting
        .iter()
        .find(|(row, told)| told.event == Event::Test.as_str() && is_due(row));
    if test.is_some() {
        return test.cloned();
    }
    for pair in waiting {
        let row = &pair.0;
        if is_due(row) {
            return Some(pair.clone());
        }
        if (1..=IN_ORDER).contains(&row.tries) {
            return None;
        }
    }
    None
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

/// Has repetitions of the same told with one message: those that wait with the newest of them, and
/// none sooner than a while after the last one. Nothing when it is too soon.
async fn fold(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    (row, told): (Model, notice::Model),
    (waiting, now_us): (&[(Model, notice::Model)], i64),
) -> Result<Option<(Model, notice::Model)>> {
    let seconds = i64::try_from(ctx.settings.notifications.fold_seconds).unwrap_or_default();
    let Some(fold) = row.fold.clone().filter(|_| seconds > 0) else {
        return Ok(Some((row, told)));
    };
    let window = seconds * 1_000_000;
    // What was tried may have arrived; it is tried again by itself.
    if row.tries > 0 {
        return Ok(Some((row, told)));
    }
    let last: Option<Option<i64>> = Entity::find()
        .select_only()
        .column(Column::EndedUs)
        .filter(Column::ChannelId.eq(row.channel_id))
        .filter(Column::Fold.eq(&fold))
        .filter(Column::State.eq(State::Delivered))
        .filter(Column::EndedUs.gt(now_us - window))
        .order_by_desc(Column::EndedUs)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    let alike = || {
        let untried = |it: &&(Model, notice::Model)| it.0.fold == row.fold && it.0.tries == 0;
        waiting.iter().filter(untried)
    };
    if let Some(last) = last.flatten() {
        let ids = alike().map(|(row, _)| row.id);
        Entity::update_many()
            .col_expr(Column::NextUs, Expr::value(last + window))
            .filter(Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        return Ok(None);
    }
    let Some((newest, newest_told)) = alike().next_back() else {
        return Ok(Some((row, told)));
    };
    let older: Vec<DeliveryId> = alike()
        .map(|(row, _)| row.id)
        .filter(|id| *id != newest.id)
        .collect();
    let mut newest = newest.clone();
    if !older.is_empty() {
        let folded = older.len();
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Folded))
            .col_expr(Column::FoldedInto, Expr::value(newest.id))
            .col_expr(Column::EndedUs, Expr::value(now_us))
            .filter(Column::Id.is_in(older))
            .exec(tx)
            .await?;
        newest.folded += i64::try_from(folded).unwrap_or_default();
    }
    Ok(Some((newest, newest_told.clone())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NoticeId;

    fn waits(id: i64, tries: i64, next_us: i64, event: Event) -> (Model, notice::Model) {
        let row = Model {
            id: DeliveryId(id),
            notice_id: NoticeId(id),
            channel_id: ChannelId(1),
            state: State::Pending,
            tries,
            next_us,
            key: String::new(),
            fold: None,
            folded_into: None,
            folded: 0,
            answer: None,
            created_us: 0,
            ended_us: None,
        };
        let told = notice::Model {
            id: NoticeId(id),
            uid: id.to_string(),
            event: event.as_str().to_owned(),
            project_id: None,
            target_id: None,
            deployment_id: None,
            body: "{}".to_owned(),
            created_us: 0,
        };
        (row, told)
    }

    fn chosen(waiting: &[(Model, notice::Model)]) -> Option<i64> {
        choose(waiting, 100).map(|(row, _)| row.id.0)
    }

    #[test]
    fn messages_of_a_channel_go_in_order() {
        let (a, b) = (waits(1, 0, 0, Event::Failed), waits(2, 0, 0, Event::Failed));
        assert_eq!(chosen(&[a, b.clone()]), Some(1));
        let tried = waits(1, 1, 200, Event::Failed);
        assert_eq!(chosen(&[tried, b.clone()]), None);
        let often = waits(1, IN_ORDER + 1, 200, Event::Failed);
        assert_eq!(chosen(&[often, b.clone()]), Some(2));
        let put_off = waits(1, 0, 200, Event::Failed);
        assert_eq!(chosen(&[put_off, b]), Some(2));
    }

    #[test]
    fn test_goes_before_what_waits() {
        let tried = waits(1, 1, 200, Event::Failed);
        let test = waits(2, 0, 0, Event::Test);
        assert_eq!(chosen(&[tried, test]), Some(2));
    }
}
