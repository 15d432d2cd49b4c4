//! Trying a channel: a worker sends a message at once, and its provider's real answer is told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use super::service::{Detail, get};
use crate::{
    access::Actor,
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    id::{ChannelId, DeliveryId},
    notify::{
        delivery::{
            state::State,
            store::{find, give_up, of_uid},
        },
        event::Event,
        notice::Notice,
        outbox::{
            compose::{Item, random_key},
            write,
        },
        provider,
    },
    process,
};

/// How long the answer is waited for: longer than any provider takes to send.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Where that stands.
    pub state: State,
    /// What the service said, or why it was not asked.
    pub answer: String,
}

/// Has a message sent to a channel, once, and waits for what its service answers.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when the channel or its provider is
/// switched off.
pub async fn test(ctx: &Ctx, actor: &Actor, id: ChannelId, now: DateTime<Utc>) -> Result<Trial> {
    let channel = get(ctx, actor, id).await?;
    let of = provider::store::find(ctx.db.reader(), channel.row.provider_id).await?;
    if channel.row.disabled || of.is_none_or(|of| of.disabled) {
        let message = "the channel or its provider is switched off";
        return Err(Error::conflict("channel_disabled", message));
    }
    let delivery = ask(ctx, actor, &channel, now).await?;
    ctx.outbox.notify_one();
    outcome(ctx, delivery).await
}

async fn ask(ctx: &Ctx, actor: &Actor, channel: &Detail, now: DateTime<Utc>) -> Result<DeliveryId> {
    let item = Item {
        uid: random_key()?,
        project: None,
        target: None,
        deployment: None,
        notice: Notice {
            event: Event::Test,
            at: now,
            project: None,
            target: None,
            actor: Some(actor.name.clone()),
            text: None,
            deployment: None,
            failure: None,
            url: ctx.settings.server.public_url.clone(),
            folded: 0,
        },
        channels: vec![channel.row.id],
        fold: None,
    };
    let tx = ctx.db.begin().await?;
    write(&tx, std::slice::from_ref(&item)).await?;
    let delivery = of_uid(&tx, &item.uid).await?;
    let delivery = delivery.ok_or_else(|| crate::db::broken("a delivery has no row"))?;
    let entry = Entry::by(actor, Action::ChannelTest, now).on(
        ObjectKind::Channel,
        channel.row.id.0,
        &channel.row.name,
    );
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(delivery)
}

async fn outcome(ctx: &Ctx, id: DeliveryId) -> Result<Trial> {
    let started = Instant::now();
    loop {
        let row = find(ctx.db.writer(), id).await?;
        let row = row.ok_or(Error::NotFound("channel"))?;
        if row.state.is_final() {
            return Ok(Trial {
                delivery: id,
                state: row.state,
                answer: row.answer.unwrap_or_default(),
            });
        }
        let is_waiting = row.state == State::Pending;
        let is_late = started.elapsed() >= PATIENCE;
        if is_late || is_waiting && started.elapsed() >= PAUSE * 10 {
            let lease = ctx.settings.queue.lease();
            let there = process::store::capacity(ctx.db.reader(), lease).await?;
            let why = match there.workers {
                0 => "No worker is running, so nothing was sent.",
                _ => "No worker got round to it, so nothing was sent.",
            };
            if (there.workers == 0 || is_late) && give_up(ctx.db.writer(), id, why).await? {
                continue;
            }
        }
        if is_late {
            return Ok(Trial {
                delivery: id,
                state: row.state,
                answer: "The service has not answered yet.".to_owned(),
            });
        }
        sleep(PAUSE).await;
    }
}
