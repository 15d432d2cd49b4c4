//! Taking deployments: leases from the index, then claims in the database, which alone decides.

use std::time::Duration;

use slipway_core::{
    db,
    deployment::{
        brief::Known,
        store::{
            claim::{Claim, Claimant, Taken, Wanted, claim_all, held_by},
            step::of_run,
        },
    },
    error::{Error, Result},
    fail,
    ports::{Authority, Claimed, Entry, LeaseToken, QueueError},
};
use tokio::time::Instant;

use crate::runner::{Job, Runner, Work};

/// Longest wait for work without looking again.
const WAIT: Duration = Duration::from_secs(5);
/// Wait after something in the way, such as a queue that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// Wait behind a lock that does not expire; lifting it ends the wait.
const LOCKED: Duration = Duration::from_secs(3600);
/// Wait while everything that may run is running, here or elsewhere.
const BUSY: Duration = Duration::from_millis(100);

impl<W: Work> Runner<W> {
    /// Takes as many as `most` deployments.
    pub(crate) async fn take(&self, most: usize) -> Took {
        let (leased, then) = self.lease_next(most).await;
        fail::point("claim.after_index");
        let is_all = leased.len() == most;
        match self.own(&leased).await {
            Ok(jobs) => Took { jobs, is_all, then },
            Err(error) => {
                tracing::warn!(error = ?error, "deployments could not be claimed");
                for (entry, token) in leased {
                    let lease = Authority::Lease(token);
                    let back = self.ctx().queue.requeue(entry, &lease).await;
                    if let Err(error) = back {
                        tracing::debug!(error = %error, "its lease in the queue will run out");
                    }
                }
                Took {
                    jobs: Vec::new(),
                    is_all: false,
                    then: Then::Pause(PAUSE),
                }
            }
        }
    }

    /// The next entries of the index, each under a fresh token, and what to do after them.
    async fn lease_next(&self, most: usize) -> (Vec<(Entry, LeaseToken)>, Then) {
        let settings = &self.ctx().settings.queue;
        let tokens: std::result::Result<Vec<LeaseToken>, _> =
            (0..most).map(|_| LeaseToken::random()).collect();
        let tokens = match tokens {
            Ok(tokens) => tokens,
            Err(error) => {
                tracing::error!(error = %error, "no randomness for a lease");
                return (Vec::new(), Then::Pause(PAUSE));
            }
        };
        let (lease, max) = (settings.lease(), settings.max_running);
        let claimed = match self.ctx().queue.claim_many(&tokens, lease, max).await {
            Ok(claimed) => claimed,
            Err(QueueError::Lost) => return (Vec::new(), Then::Pause(BUSY)),
            Err(error) => {
                tracing::debug!(error = %error, "nothing could be taken from the queue");
                return (Vec::new(), Then::Pause(PAUSE));
            }
        };
        let mut leased = Vec::with_capacity(most);
        let mut then = Then::Again;
        for (claimed, token) in claimed.into_iter().zip(tokens) {
            match claimed {
                Claimed::Entry(entry) => leased.push((entry, token)),
                Claimed::Empty(due) => {
                    then = Then::Wait(due.map_or(WAIT, |due| due.min(WAIT))).or(then);
                }
                Claimed::Busy => then = Then::Pause(BUSY).or(then),
            }
        }
        (leased, then)
    }

    /// Claims what the index gave out in the database, which alone decides.
    async fn own(&self, leased: &[(Entry, LeaseToken)]) -> Result<Vec<Job>> {
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let ctx = self.ctx();
        let queue = &ctx.settings.queue;
        let wanted: Vec<_> = leased
            .iter()
            .map(|(entry, token)| {
                let by = Claimant {
                    owner: self.work.name(),
                    token,
                    lease: queue.lease(),
                    max_running: queue.max_running,
                };
                Wanted {
                    id: entry.id,
                    target: entry.target,
                    by,
                }
            })
            .collect();
        let sent = Instant::now();
        let plan = |row: &_, brief: &_| self.work.plan(row, brief);
        let taken = match claim_all(&ctx.db, &wanted, &plan, db::now()).await {
            Ok(taken) => taken,
            // The answer may have been lost on the way: the tokens tell whose they are.
            Err(error) => self.already_ours(leased, error).await?,
        };
        let mut jobs = Vec::with_capacity(leased.len());
        for ((entry, token), Taken { claim, known }) in leased.iter().zip(taken) {
            if let Claim::Won(row) = claim {
                ctx.process.counters.started(&row);
                let lease = self.keeper.keep(row.id, token.clone(), sent);
                // Asked for while it was claimed: nobody else will say so before the renewal.
                if row.cancel_requested_at.is_some() {
                    lease.signals.cancelled.cancel();
                }
                fail::point("claim.after_keep");
                jobs.push(Job {
                    row: *row,
                    known,
                    entry: *entry,
                    token: token.clone(),
                    lease,
                });
            } else if let Err(error) = self.put_back(*entry, token, claim).await {
                tracing::warn!(deployment.id = entry.id.0, error = %error,
                    "the queue was not told why a deployment does not run; its lease will run out");
            }
        }
        Ok(jobs)
    }

    /// What the database says of a claim whose answer was `error`.
    async fn already_ours(
        &self,
        leased: &[(Entry, LeaseToken)],
        error: Error,
    ) -> Result<Vec<Taken>> {
        let mut taken = Vec::with_capacity(leased.len());
        let mut is_any_ours = false;
        for (entry, token) in leased {
            let conn = self.ctx().db.writer();
            let Some(row) = held_by(conn, entry.id, token).await? else {
                taken.push(Claim::Raced.into());
                continue;
            };
            is_any_ours = true;
            // What was to be written with the claim was written with it.
            let planned = of_run(conn, row.id, row.fence).await?;
            taken.push(Taken {
                claim: Claim::Won(Box::new(row)),
                known: Known {
                    brief: None,
                    planned,
                },
            });
        }
        if is_any_ours { Ok(taken) } else { Err(error) }
    }

    /// Tells the index why an entry that it gave out does not run now.
    async fn put_back(
        &self,
        entry: Entry,
        token: &LeaseToken,
        verdict: Claim,
    ) -> std::result::Result<(), QueueError> {
        let queue = &self.ctx().queue;
        let by_lease = Authority::Lease(token.clone());
        match verdict {
            Claim::Won(_) => {}
            Claim::Ended => {
                fail::point("claim.before_forget");
                queue.finish(entry, &Authority::Database).await?;
            }
            Claim::Held(holder, left) => {
                fail::point("claim.before_hold");
                let least = self.ctx().settings.queue.lease() / 30;
                queue.hold(entry, &holder, left.max(least)).await?;
            }
            Claim::NotYet(delay) => {
                fail::point("claim.before_put_off");
                queue.retry(entry, &by_lease, delay).await?;
            }
            Claim::Locked(left) => {
                let delay = left.unwrap_or(LOCKED);
                queue.retry(entry, &by_lease, delay).await?;
            }
            Claim::Behind(older) => {
                fail::point("claim.before_push_older");
                queue.enqueue(older, true).await?;
                fail::point("claim.before_step_back");
                queue.requeue(entry, &by_lease).await?;
            }
            Claim::Raced => {
                queue.retry(entry, &by_lease, PAUSE).await?;
            }
        }
        Ok(())
    }
}

/// What a look at the queue brought.
pub(crate) struct Took {
    /// Deployments to run.
    pub(crate) jobs: Vec<Job>,
    /// The index gave as many as were asked for.
    pub(crate) is_all: bool,
    /// What to do next.
    pub(crate) then: Then,
}

/// What to do after a look at the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Look again; there may be more.
    Again,
    /// Nothing may run for this long, unless something new comes.
    Wait(Duration),
    /// Something is in the way.
    Pause(Duration),
}

impl Then {
    /// What several looks at once have in common: the longest pause, else the shortest wait.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Pause(one), Self::Pause(two)) => Self::Pause(one.max(two)),
            (Self::Pause(_), _) | (_, Self::Again) => self,
            (_, Self::Pause(_)) | (Self::Again, _) => other,
            (Self::Wait(one), Self::Wait(two)) => Self::Wait(one.min(two)),
        }
    }
}
