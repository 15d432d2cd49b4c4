//! How an attempt ended: for its message, its channel and the circuit of its provider.

use std::time::Duration;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, Value, sea_query::Expr,
};

use super::queue::{Job, release};
use crate::{
    ctx::Ctx,
    db::{after_us, micros, now_us},
    deployment::store::claim::clock,
    error::Result,
    fail,
    id::ChannelId,
    notify::{
        channel::entity as channel,
        delivery::{
            entity::{Column, Entity},
            state::{IN_ORDER, State, TRIED_FOR, wait_after},
        },
        event::Event,
        provider::{Verdict, entity as provider},
    },
};

/// Attempts that fail in a row before a circuit opens.
const FAILURES_MAX: i64 = 5;
/// From how many channels they have to come, if the provider has as many: one dead channel says
/// nothing of the others.
const CHANNELS_MIN: u64 = 3;
/// How long a circuit is open at first; twice as long each time that trying it fails.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// The longest.
const OPEN_FOR_MAX: Duration = Duration::from_secs(600);
/// Most characters of an answer that are kept.
const ANSWER_CHARACTERS_MAX: usize = 1000;

/// Writes how an attempt ended and gives the channel back. Nothing, and nothing written, when the
/// channel is another sender's by now. `answer` is masked already.
///
/// # Errors
/// When the database fails; the lease then runs out, and it is sent once more.
pub async fn record(ctx: &Ctx, job: &Job, verdict: &Verdict) -> Result<Option<State>> {
    crate::db::retried(|| record_once(ctx, job, verdict)).await
}

async fn record_once(ctx: &Ctx, job: &Job, verdict: &Verdict) -> Result<Option<State>> {
    let tx = ctx.db.begin().await?;
    if !release(&tx, job.channel.id, &job.token).await? {
        return Ok(None);
    }
    let now = clock(&tx).await?;
    let (answer, after) = match verdict {
        Verdict::Delivered { answer } | Verdict::Refused { answer } => (answer, None),
        Verdict::Later { answer, after } => (answer, *after),
    };
    let is_test = job.notice.event == Event::Test;
    let may_repeat = !is_test && is_repeated(job, after, now);
    let state = match verdict {
        Verdict::Delivered { .. } => State::Delivered,
        Verdict::Later { .. } if may_repeat => State::Pending,
        Verdict::Later { .. } | Verdict::Refused { .. } => State::Failed,
    };
    let wait = wait_after(job.row.tries, after, jitter());
    let ended = state.is_final().then_some(now);
    let answer: String = answer.chars().take(ANSWER_CHARACTERS_MAX).collect();
    Entity::update_many()
        .col_expr(Column::State, Expr::value(state))
        .col_expr(Column::Answer, Expr::value(answer))
        .col_expr(Column::NextUs, Expr::value(now + micros(wait)))
        .col_expr(Column::EndedUs, Expr::value(ended))
        .filter(Column::Id.eq(job.row.id))
        .filter(Column::State.eq(State::Sending))
        .exec(&tx)
        .await?;
    let is_down = matches!(verdict, Verdict::Later { after: None, .. });
    channel_after(&tx, job.channel.id, (is_down, now)).await?;
    // Somebody who tries out settings that are wrong stops nobody else.
    if !(is_test && is_down) {
        circuit_after(&tx, &job.provider, (is_down, now)).await?;
    }
    fail::point("notify.before_record");
    tx.commit().await?;
    fail::point("notify.after_record");
    Ok(Some(state))
}

/// Whether a message is worth another attempt. One that could not be tried while nobody was sending is
/// old at its first attempt, and gets the first repeats like any other.
fn is_repeated(job: &Job, asked: Option<Duration>, now: i64) -> bool {
    let is_old = now - job.row.created_us > micros(TRIED_FOR);
    !is_old || job.row.tries <= IN_ORDER || asked.is_some()
}

fn jitter() -> u8 {
    let mut byte = [0_u8; 1];
    // Without randomness attempts that failed together are repeated together.
    let _no_jitter = getrandom::fill(&mut byte);
    byte[0]
}

async fn channel_after(
    tx: &impl ConnectionTrait,
    id: ChannelId,
    (is_down, now): (bool, i64),
) -> Result<()> {
    let failures = Expr::col(channel::Column::Failures);
    let mut update = channel::Entity::update_many().filter(channel::Column::Id.eq(id));
    update = if is_down {
        update
            .col_expr(channel::Column::Failures, failures.add(1))
            .col_expr(channel::Column::FailedUs, Expr::value(now))
    } else {
        update.col_expr(channel::Column::Failures, Expr::value(0_i64))
    };
    update.exec(tx).await?;
    Ok(())
}

/// A service that answers anything closes its circuit, a refusal and a request to wait included.
/// `seen` is the provider as it stood when the message was taken.
async fn circuit_after(
    tx: &impl ConnectionTrait,
    seen: &provider::Model,
    (is_down, now): (bool, i64),
) -> Result<()> {
    use provider::{Column, Entity};
    let id = seen.id;
    if !is_down {
        Entity::update_many()
            .col_expr(Column::Failures, Expr::value(0_i64))
            .col_expr(Column::Openings, Expr::value(0_i64))
            .col_expr(Column::OpenUntilUs, Expr::value(Value::BigInt(None)))
            .col_expr(Column::SucceededUs, Expr::value(now))
            .filter(Column::Id.eq(id))
            .exec(tx)
            .await?;
        return Ok(());
    }
    Entity::update_many()
        .col_expr(Column::Failures, Expr::col(Column::Failures).add(1))
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    let Some(row) = Entity::find_by_id(id).one(tx).await? else {
        return Ok(());
    };
    if row.failures < FAILURES_MAX || !is_widespread(tx, &row).await? {
        return Ok(());
    }
    let doublings = Ord::min(u32::try_from(row.openings).unwrap_or_default(), 8);
    let open_for = OPEN_FOR.saturating_mul(1 << doublings).min(OPEN_FOR_MAX);
    let until = after_us(tx.get_database_backend(), open_for);
    // What was taken while it was open is the one that tried it. What was under way when it opened
    // says nothing new, and must not make it longer.
    let was_open = seen.open_until_us.is_some();
    let still = if was_open {
        Column::OpenUntilUs.is_not_null()
    } else {
        Column::OpenUntilUs.is_null()
    };
    let opened = Entity::update_many()
        .col_expr(Column::OpenUntilUs, until)
        .col_expr(Column::Openings, Expr::col(Column::Openings).add(1))
        .filter(Column::Id.eq(id))
        .filter(still)
        .exec(tx)
        .await?;
    if opened.rows_affected > 0 {
        tracing::warn!(
            provider.id = id.0,
            "nothing is sent with a provider for a while, as everything failed lately"
        );
    }
    Ok(())
}

async fn is_widespread(tx: &impl ConnectionTrait, row: &provider::Model) -> Result<bool> {
    let all = channel::Entity::find()
        .filter(channel::Column::ProviderId.eq(row.id))
        .filter(channel::Column::Disabled.eq(false));
    let failing = all
        .clone()
        .filter(channel::Column::FailedUs.gt(row.succeeded_us.unwrap_or_default()))
        .count(tx)
        .await?;
    Ok(failing >= Ord::min(all.count(tx).await?, CHANNELS_MIN))
}

/// Gives a message back untried, because this sender stops before it was sent.
///
/// # Errors
/// When the database fails; the lease then runs out.
pub async fn hand_back(ctx: &Ctx, job: &Job) -> Result<()> {
    let tx = ctx.db.begin().await?;
    if release(&tx, job.channel.id, &job.token).await? {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Pending))
            .col_expr(Column::Tries, Expr::value(job.row.tries - 1))
            .col_expr(Column::NextUs, now_us(ctx.db.backend()))
            .filter(Column::Id.eq(job.row.id))
            .filter(Column::State.eq(State::Sending))
            .exec(&tx)
            .await?;
        tx.commit().await?;
    }
    Ok(())
}
