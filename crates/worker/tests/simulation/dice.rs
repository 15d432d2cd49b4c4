//! The only source of chance: the same seed throws the same numbers.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A small generator (`SplitMix64`), shared by everything in one world.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995,
        ))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a small number");
        usize::try_from(self.next() % end).expect("a small number")
    }

    /// True this many times in a thousand.
    pub(crate) fn chance(&self, in_a_thousand: usize) -> bool {
        self.below(1000) < in_a_thousand
    }

    /// A span of `from` to `to` milliseconds.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        let width = usize::try_from(to - from + 1).expect("a small number");
        Duration::from_millis(from + u64::try_from(self.below(width)).expect("a small number"))
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
