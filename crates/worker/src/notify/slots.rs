//! Room for messages on their way, shared out so that those that hang take none from the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many times as many messages may hang as may be sent quickly.
const SLOW_FACTOR: usize = 8;

/// Room for messages.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    count: usize,
}

/// Room for one message, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    permit: OwnedSemaphorePermit,
    slow: Arc<Semaphore>,
    is_slow: bool,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self {
            quick: Arc::new(Semaphore::new(count)),
            slow: Arc::new(Semaphore::new(count * SLOW_FACTOR)),
            count,
        }
    }

    /// How many channels are worth asking for at once.
    pub(super) fn asked(&self) -> u64 {
        (self.count * (SLOW_FACTOR + 1)) as u64
    }

    /// Room for a message, if there is any. One to a channel that failed last time is expected to hang.
    pub(super) fn take(&self, is_failing: bool) -> Option<Slot> {
        let from = if is_failing { &self.slow } else { &self.quick };
        let permit = Arc::clone(from).try_acquire_owned().ok()?;
        Some(Slot {
            permit,
            slow: Arc::clone(&self.slow),
            is_slow: is_failing,
        })
    }
}

impl Slot {
    /// Makes room for others, as this one takes long.
    pub(super) fn slow_down(&mut self) {
        if !self.is_slow
            && let Ok(permit) = Arc::clone(&self.slow).try_acquire_owned()
        {
            self.permit = permit;
            self.is_slow = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_hang_take_no_room_from_the_others() {
        let slots = Slots::new(2);
        let mut hanging: Vec<Slot> = Vec::new();
        for _ in 0..10 {
            let mut slot = slots.take(false).expect("there is room for a quick one");
            slot.slow_down();
            hanging.push(slot);
        }
        assert!(slots.take(true).is_some());
        let quick: Vec<_> = (0..2).map(|_| slots.take(false)).collect();
        assert!(quick.iter().all(Option::is_some));
        assert!(slots.take(false).is_none());
        drop(hanging);
        assert!(slots.take(false).is_none(), "it was not theirs");
    }
}
