//! The dispatch index as plain data: what `redis/lua` does, in Rust.
//!
//! Knows no clock (every call is told the time) and wakes nobody. Where a rule needs a reason, the
//! scripts give it.

mod rebuild;
mod repair;
mod round;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use slipway_core::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
    ports::{Authority, Claimed, Enqueued, Entry, Holder, LeaseToken, Place, QueueError, Released},
};
use tokio::time::Instant;

use round::Rounds;

/// What a target is doing; a target without a state is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready(Priority),
    Busy(DeploymentId),
    Held(DeploymentId),
}

#[derive(Clone, Debug)]
struct Lease {
    token: LeaseToken,
    expires: Instant,
}

/// Everything the index knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    complete: bool,
    rebuild_until: Option<Instant>,
    jobs: BTreeMap<DeploymentId, (TargetId, Priority)>,
    pending: HashMap<TargetId, BTreeSet<DeploymentId>>,
    ready: Rounds,
    states: BTreeMap<TargetId, State>,
    delayed: BTreeMap<DeploymentId, Instant>,
    leases: BTreeMap<DeploymentId, Lease>,
    holders: HashMap<LeaseToken, DeploymentId>,
    listed_up_to: Option<DeploymentId>,
}

impl Index {
    /// [`QueueError::Lost`] unless a rebuild has completed.
    pub(super) fn check(&self) -> Result<(), QueueError> {
        if self.complete {
            Ok(())
        } else {
            Err(QueueError::Lost)
        }
    }

    /// Whether a claim could find something.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn depth(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn targets(&self) -> Vec<TargetId> {
        self.states.keys().copied().collect()
    }

    pub(super) fn enqueue(&mut self, entry: Entry, cap: Option<usize>) -> Enqueued {
        if let Some((target, priority)) = self.jobs.get_mut(&entry.id) {
            let target = *target;
            if std::mem::replace(priority, entry.priority) != entry.priority {
                self.settle(target, None);
            }
            return Enqueued::Duplicate;
        }
        if cap.is_some_and(|cap| self.jobs.len() >= cap) {
            return Enqueued::Full;
        }
        self.add(entry);
        let line = self.pending.get(&entry.target);
        let place = line.map_or(1, |line| line.range(..=entry.id).count());
        Enqueued::Added {
            place: place as u64,
            holder: match self.states.get(&entry.target) {
                Some(State::Busy(id)) => Some(Holder::Leased(*id)),
                Some(State::Held(id)) => Some(Holder::Delayed(*id)),
                Some(State::Ready(_)) | None => None,
            },
        }
    }

    pub(super) fn claim_many(
        &mut self,
        tokens: &[LeaseToken],
        ttl: Duration,
        max_running: u32,
        now: Instant,
    ) -> Vec<Claimed> {
        let mut held = Vec::with_capacity(tokens.len());
        for token in tokens {
            let entry = self.held_by(token);
            if let Some(entry) = entry {
                self.lease(entry.id, token, now + ttl);
            }
            held.push(entry);
        }
        if held.contains(&None) {
            self.put_back_due(now);
        }
        let claims = tokens.iter().zip(held).map(|(token, held)| match held {
            Some(entry) => Claimed::Entry(entry),
            None => self.claim(token, ttl, max_running, now),
        });
        claims.collect()
    }

    fn claim(
        &mut self,
        token: &LeaseToken,
        ttl: Duration,
        max_running: u32,
        now: Instant,
    ) -> Claimed {
        if self.leases.len() >= usize::try_from(max_running).unwrap_or(usize::MAX) {
            return Claimed::Busy;
        }
        while let Some((target, priority)) = self.ready.next() {
            self.states.remove(&target);
            let first = self.pending.get_mut(&target).and_then(BTreeSet::pop_first);
            if let Some(id) = first {
                self.forget_empty(target);
                self.lease(id, token, now + ttl);
                self.states.insert(target, State::Busy(id));
                self.ready.pass_over(priority);
                return Claimed::Entry(Entry {
                    id,
                    target,
                    priority,
                });
            }
        }
        let next = self.delayed.values().min();
        Claimed::Empty(next.map(|due| due.saturating_duration_since(now)))
    }

    pub(super) fn finish(&mut self, id: DeploymentId, by: &Authority) -> Released {
        self.release(id, by, |index, target| {
            index.jobs.remove(&id);
            index.settle(target, Some(id));
        })
    }

    pub(super) fn retry(&mut self, id: DeploymentId, by: &Authority, due: Instant) -> Released {
        self.release(id, by, |index, target| {
            index.delayed.insert(id, due);
            let others = match index.states.get(&target) {
                None | Some(State::Ready(_)) => false,
                Some(State::Busy(holder) | State::Held(holder)) => *holder != id,
            };
            if !others {
                index.occupy(target, State::Held(id));
            }
        })
    }

    pub(super) fn requeue(&mut self, id: DeploymentId, by: &Authority) -> Released {
        self.release(id, by, |index, target| {
            index.pending.entry(target).or_default().insert(id);
            index.settle(target, Some(id));
        })
    }

    pub(super) fn hold(&mut self, entry: Entry, token: &LeaseToken, expires: Instant) {
        let Entry {
            id,
            target,
            priority,
        } = entry;
        self.jobs.insert(id, (target, priority));
        self.lift(id, target);
        self.lease(id, token, expires);
        self.occupy(target, State::Busy(id));
    }

    /// True if the lease is still the token's.
    pub(super) fn renew(&mut self, id: DeploymentId, token: &LeaseToken, expires: Instant) -> bool {
        let Some(lease) = self
            .leases
            .get_mut(&id)
            .filter(|lease| lease.token == *token)
        else {
            return false;
        };
        lease.expires = expires;
        true
    }

    pub(super) fn place(&self, id: DeploymentId) -> Place {
        let Some((target, _)) = self.jobs.get(&id) else {
            return Place::Absent;
        };
        if self.leases.contains_key(&id) {
            Place::Leased
        } else if self.delayed.contains_key(&id) {
            Place::Delayed
        } else if self
            .pending
            .get(target)
            .is_some_and(|list| list.contains(&id))
        {
            Place::Pending
        } else {
            Place::Adrift
        }
    }

    /// Up to `limit` entries; each call goes on where the last one ended, round and round.
    pub(super) fn entries(&mut self, limit: usize) -> Vec<Entry> {
        let after = self.listed_up_to.unwrap_or(DeploymentId(i64::MIN));
        let (seen, unseen): (Vec<_>, Vec<_>) = self.jobs.iter().partition(|(id, _)| **id <= after);
        let listed: Vec<Entry> = unseen
            .into_iter()
            .chain(seen)
            .take(limit)
            .map(|(id, (target, priority))| Entry {
                id: *id,
                target: *target,
                priority: *priority,
            })
            .collect();
        self.listed_up_to = listed.last().map(|entry| entry.id);
        listed
    }

    fn add(&mut self, entry: Entry) {
        self.jobs.insert(entry.id, (entry.target, entry.priority));
        self.pending
            .entry(entry.target)
            .or_default()
            .insert(entry.id);
        self.settle(entry.target, None);
    }

    fn held_by(&self, token: &LeaseToken) -> Option<Entry> {
        let id = *self.holders.get(token)?;
        let (target, priority) = *self.jobs.get(&id)?;
        Some(Entry {
            id,
            target,
            priority,
        })
    }

    fn lease(&mut self, id: DeploymentId, token: &LeaseToken, expires: Instant) {
        let token = token.clone();
        self.holders.insert(token.clone(), id);
        self.leases.insert(id, Lease { token, expires });
    }

    fn put_back_due(&mut self, now: Instant) {
        let delayed = self.delayed.iter().filter(|(_, due)| **due <= now);
        let delayed: Vec<DeploymentId> = delayed.map(|(id, _)| *id).collect();
        let expired = self.leases.iter().filter(|(_, lease)| lease.expires <= now);
        let expired: Vec<DeploymentId> = expired.map(|(id, _)| *id).collect();
        for id in delayed.into_iter().chain(expired) {
            self.requeue(id, &Authority::Database);
        }
    }

    /// Lifts an entry that `by` may move, and leaves the rest to `put`.
    fn release(
        &mut self,
        id: DeploymentId,
        by: &Authority,
        put: impl FnOnce(&mut Self, TargetId),
    ) -> Released {
        let Some((target, _)) = self.jobs.get(&id).copied() else {
            return Released::Gone;
        };
        if let Authority::Lease(token) = by
            && self
                .leases
                .get(&id)
                .is_none_or(|lease| lease.token != *token)
        {
            return Released::Stale;
        }
        self.lift(id, target);
        put(self, target);
        Released::Done
    }

    fn lift(&mut self, id: DeploymentId, target: TargetId) {
        if let Some(lease) = self.leases.remove(&id)
            && self.holders.get(&lease.token) == Some(&id)
        {
            self.holders.remove(&lease.token);
        }
        self.delayed.remove(&id);
        if let Some(list) = self.pending.get_mut(&target) {
            list.remove(&id);
        }
        self.forget_empty(target);
    }

    fn forget_empty(&mut self, target: TargetId) {
        if self.pending.get(&target).is_some_and(BTreeSet::is_empty) {
            self.pending.remove(&target);
        }
    }

    /// Brings a target's state in line after `moved` has moved.
    fn settle(&mut self, target: TargetId, moved: Option<DeploymentId>) {
        let state = self.states.get(&target).copied();
        let taken = match state {
            None | Some(State::Ready(_)) => false,
            Some(State::Busy(holder) | State::Held(holder)) => Some(holder) != moved,
        };
        let right = self.ready_state(target);
        if taken || state == right {
            return;
        }
        self.ready.remove(target);
        if let Some(State::Ready(priority)) = right {
            self.states.insert(target, State::Ready(priority));
            self.ready.join(target, priority);
        } else {
            self.states.remove(&target);
        }
    }

    /// The state of a target that may run: in the round of its first entry's priority.
    fn ready_state(&self, target: TargetId) -> Option<State> {
        let first = self.pending.get(&target)?.first()?;
        let (_, priority) = self.jobs.get(first)?;
        Some(State::Ready(*priority))
    }

    fn occupy(&mut self, target: TargetId, holder: State) {
        self.ready.remove(target);
        self.states.insert(target, holder);
    }
}

#[cfg(test)]
mod tests;
