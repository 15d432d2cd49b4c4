//! What the scripts answer, in the words of the port.

use std::time::Duration;

use slipway_core::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
    ports::{Claimed, Enqueued, Entry, Holder, Place, QueueError, Released},
};

use super::scripts::Reply;

/// What became of a write that names a lease.
pub(super) fn released(reply: &Reply) -> Result<Released, QueueError> {
    release(reply.outcome()).ok_or_else(|| reply.unexpected())
}

/// What became of each of so many entries that were to be taken out.
pub(super) fn finished(reply: &Reply, entries: usize) -> Result<Vec<Released>, QueueError> {
    each(reply, entries, |[word]: &[String; 1]| release(word))
}

/// What is said of each of so many entries, in so many words.
fn each<const WORDS: usize, T>(
    reply: &Reply,
    entries: usize,
    one: impl Fn(&[String; WORDS]) -> Option<T>,
) -> Result<Vec<T>, QueueError> {
    let (each, rest) = reply.words().as_chunks::<WORDS>();
    let is_complete = reply.outcome() == "OK" && rest.is_empty() && each.len() == entries;
    let each: Option<Vec<T>> = each.iter().map(one).collect();
    each.filter(|_| is_complete)
        .ok_or_else(|| reply.unexpected())
}

fn release(word: &str) -> Option<Released> {
    match word {
        "OK" => Some(Released::Done),
        "STALE" => Some(Released::Stale),
        "GONE" => Some(Released::Gone),
        _ => None,
    }
}

/// What a target's state says of who holds it.
fn holder(state: &str) -> Option<Holder> {
    let (kind, id) = state.split_once(':')?;
    let id = DeploymentId(id.parse().ok()?);
    match kind {
        "B" => Some(Holder::Leased(id)),
        "H" => Some(Holder::Delayed(id)),
        _ => None,
    }
}

/// What became of each of so many entries that were to be added.
pub(super) fn added(reply: &Reply, entries: usize) -> Result<Vec<Enqueued>, QueueError> {
    let one = |[outcome, place, state]: &[String; 3]| match outcome.as_str() {
        "ADDED" => Some(Enqueued::Added {
            place: place.parse().ok()?,
            holder: holder(state),
        }),
        "DUPLICATE" => Some(Enqueued::Duplicate),
        "FULL" => Some(Enqueued::Full),
        _ => None,
    };
    each(reply, entries, one)
}

/// Where an entry stands.
pub(super) fn place(word: &str) -> Option<Place> {
    match word {
        "absent" => Some(Place::Absent),
        "pending" => Some(Place::Pending),
        "delayed" => Some(Place::Delayed),
        "leased" => Some(Place::Leased),
        "adrift" => Some(Place::Adrift),
        _ => None,
    }
}

fn entry(id: i64, target: i64, rank: i64) -> Option<Entry> {
    Some(Entry {
        id: DeploymentId(id),
        target: TargetId(target),
        priority: Priority::from_rank(u8::try_from(rank).ok()?)?,
    })
}

/// What each of so many tokens has got; all that have none for the same reason.
pub(super) fn claimed(reply: &Reply, tokens: usize) -> Result<Vec<Claimed>, QueueError> {
    let numbers = reply.numbers()?;
    let Some((next, given)) = numbers.split_first() else {
        return Err(reply.unexpected());
    };
    let none = match reply.outcome() {
        // Every one has an entry.
        "OK" | "BUSY" => Claimed::Busy,
        "EMPTY" => Claimed::Empty(u64::try_from(*next).ok().map(Duration::from_millis)),
        _ => return Err(reply.unexpected()),
    };
    let mut claimed = vec![none; tokens];
    let (given, rest) = given.as_chunks::<4>();
    let mut is_understood = rest.is_empty();
    is_understood &= reply.outcome() != "OK" || given.len() == tokens;
    for [place, id, target, rank] in given {
        let place = usize::try_from(place - 1).ok();
        let place = place.and_then(|place| claimed.get_mut(place));
        match (place, entry(*id, *target, *rank)) {
            (Some(place), Some(entry)) => *place = Claimed::Entry(entry),
            _ => is_understood = false,
        }
    }
    is_understood
        .then_some(claimed)
        .ok_or_else(|| reply.unexpected())
}

/// Every entry that was answered.
pub(super) fn entries(reply: &Reply) -> Result<Vec<Entry>, QueueError> {
    let numbers = reply.numbers()?;
    let (entries, rest) = numbers.as_chunks::<3>();
    let known = |[id, target, rank]: &[i64; 3]| entry(*id, *target, *rank);
    let entries: Option<Vec<Entry>> = entries.iter().map(known).collect();
    entries
        .filter(|_| rest.is_empty())
        .ok_or_else(|| reply.unexpected())
}
