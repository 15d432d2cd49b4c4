//! Filling a lost index again, by one caller at a time.

use std::time::Duration;

use slipway_core::ports::{Entry, LeaseToken, QueueError};
use tokio::time::Instant;

use super::Index;

/// How long a rebuild may go without a step before another one may begin.
pub(super) const REBUILD_LOCK: Duration = Duration::from_secs(5);

impl Index {
    pub(in crate::memory) fn begin_rebuild(&mut self, now: Instant) -> bool {
        if self.complete || self.rebuilding(now) {
            return false;
        }
        *self = Self {
            rebuild_until: Some(now + REBUILD_LOCK),
            ..Self::default()
        };
        true
    }

    pub(in crate::memory) fn restore(
        &mut self,
        entry: Entry,
        lease: Option<(&LeaseToken, Instant)>,
        now: Instant,
    ) -> Result<(), QueueError> {
        if !self.rebuilding(now) {
            return Err(QueueError::Lost);
        }
        self.rebuild_until = Some(now + REBUILD_LOCK);
        if !self.jobs.contains_key(&entry.id) {
            match lease {
                Some((token, expires)) => self.hold(entry, token, expires),
                None => self.add(entry),
            }
        }
        Ok(())
    }

    pub(in crate::memory) fn end_rebuild(&mut self, now: Instant) -> Result<(), QueueError> {
        if self.rebuilding(now) {
            self.complete = true;
            self.rebuild_until = None;
        }
        self.check()
    }

    fn rebuilding(&self, now: Instant) -> bool {
        self.rebuild_until.is_some_and(|until| now < until)
    }
}
