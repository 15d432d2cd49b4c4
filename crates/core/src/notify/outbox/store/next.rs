//! Which message of a channel is next: a test before all others, the others in order, and repetitions
//! of the same with one message. It neither leases the channel nor marks what it chooses.

use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use crate::{
    ctx::Ctx,
    error::Result,
    id::{ChannelId, DeliveryId},
    notify::{
        delivery::{
            entity::{Column, Entity, Model, notice},
            state::{IN_ORDER, State},
            store::notices,
        },
        event::Event,
    },
};

/// Messages of a channel that are looked at, and how many of the newest are searched for a test.
const LOOKED_AT: u64 = 200;

/// A delivery and what it tells.
type Message = (Model, notice::Model);

/// What was found for a channel.
#[derive(Debug)]
pub(super) struct Found {
    /// The message that is next.
    pub(super) message: Option<Message>,
    /// Whether others were put off on the way, which is to be kept.
    pub(super) put_off: bool,
}

/// The next message of a channel, with those that are told with it folded into it. Unless others
/// `may_be_sent` it is a test.
///
/// # Errors
/// When the database fails.
pub(super) async fn next(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    id: ChannelId,
    (may_be_sent, now_us): (bool, i64),
) -> Result<Found> {
    let mut waiting = waiting(tx, id, now_us).await?;
    let mut put_off = false;
    while let Some((row, told)) = choose(&waiting, now_us) {
        if !may_be_sent && told.event != Event::Test.as_str() {
            break;
        }
        let fold_of = row.fold.clone();
        if let Some(message) = fold(ctx, tx, (row, told), (&waiting, now_us)).await? {
            return Ok(Found {
                message: Some(message),
                put_off,
            });
        }
        // What is too soon lets those behind it pass at once.
        waiting.retain(|(row, _)| row.tries > 0 || row.fold != fold_of);
        put_off = true;
    }
    Ok(Found {
        message: None,
        put_off,
    })
}

/// Messages that may be next, or that keep others from it, the oldest first. What was put off is not
/// among them, or it would hide what is due.
async fn waiting(tx: &impl ConnectionTrait, id: ChannelId, now_us: i64) -> Result<Vec<Message>> {
    let concerned = Condition::any()
        .add(Column::State.eq(State::Sending))
        .add(Column::NextUs.lte(now_us))
        .add(Column::Tries.between(1, IN_ORDER));
    let rows = Entity::find()
        .filter(Column::ChannelId.eq(id))
        .filter(Column::State.is_in([State::Pending, State::Sending]))
        .filter(concerned)
        .order_by_asc(Column::Id)
        .limit(LOOKED_AT)
        .all(tx)
        .await?;
    let is_cut_off = rows.len() as u64 >= LOOKED_AT;
    let told = notices(tx, rows.iter().map(|row| row.notice_id)).await?;
    let both = rows.into_iter().filter_map(|row| {
        let told = told.iter().find(|told| told.id == row.notice_id)?;
        Some((row, told.clone()))
    });
    let mut waiting: Vec<Message> = both.collect();
    if is_cut_off {
        waiting.extend(test_behind(tx, id, now_us).await?);
    }
    Ok(waiting)
}

/// A test behind more messages than are looked at. It is among the newest, as nobody waits for one
/// for long.
async fn test_behind(
    tx: &impl ConnectionTrait,
    id: ChannelId,
    now_us: i64,
) -> Result<Option<Message>> {
    let newest = Entity::find()
        .filter(Column::ChannelId.eq(id))
        .filter(Column::State.eq(State::Pending))
        .filter(Column::NextUs.lte(now_us))
        .order_by_desc(Column::Id)
        .limit(LOOKED_AT)
        .all(tx)
        .await?;
    let test = notice::Entity::find()
        .filter(notice::Column::Id.is_in(newest.iter().map(|row| row.notice_id)))
        .filter(notice::Column::Event.eq(Event::Test.as_str()))
        .order_by_asc(notice::Column::Id)
        .limit(1)
        .one(tx)
        .await?;
    Ok(test.and_then(|test| {
        let row = newest.into_iter().find(|row| row.notice_id == test.id)?;
        Some((row, test))
    }))
}

/// The message that is next: a test before all others, and the others in order. Pure.
fn choose(waiting: &[Message], now_us: i64) -> Option<Message> {
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

/// Has repetitions of the same told with one message: those that wait with the newest of them, and
/// none sooner than a while after the last one. Nothing when it is too soon.
async fn fold(
    ctx: &Ctx,
    tx: &impl ConnectionTrait,
    (row, told): Message,
    (waiting, now_us): (&[Message], i64),
) -> Result<Option<Message>> {
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
        let untried = |it: &&Message| it.0.fold == row.fold && it.0.tries == 0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NoticeId;

    fn waits(id: i64, tries: i64, next_us: i64, event: Event) -> Message {
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

    fn chosen(waiting: &[Message]) -> Option<i64> {
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
