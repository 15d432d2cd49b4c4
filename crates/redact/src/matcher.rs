//! What must not appear in some output, ready to be searched for.
//!
//! Most text has nothing to do with any secret, so every few bytes four of them are looked up in a
//! small table of what stands at the beginning of needles; the automaton only follows what passes.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    automaton::{Automaton, ROOT, State},
    needles::{NEEDLE_MIN_BYTES, needles},
};

/// More would fill the memory: some sixteen bytes for each.
const NEEDLES_MAX_BYTES: usize = 16 * 1024 * 1024;

/// So many bytes are looked up at once; no needle is shorter.
pub(super) const SAMPLE: usize = NEEDLE_MIN_BYTES;

/// What must not appear. Built once, shared by all that is searched.
#[derive(Default)]
pub struct Matcher {
    needles: Vec<Zeroizing<Vec<u8>>>,
    automaton: Automaton,
    beginnings: Beginnings,
}

/// The secrets cannot be looked for, so no output may be shown.
#[derive(Debug, thiserror::Error)]
#[error("the secrets are too large to be looked for")]
pub struct TooLarge;

impl Matcher {
    /// Prepares the search for `secrets`.
    ///
    /// # Errors
    /// When they are too large for the search.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooLarge> {
        Self::default().with(secrets)
    }

    /// The same with more secrets.
    ///
    /// # Errors
    /// When they are too large for the search.
    pub fn with<'a>(&self, secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooLarge> {
        let mut found = self.needles.clone();
        for secret in secrets {
            found.extend(needles(secret));
        }
        found.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
        found.dedup();
        if found.iter().map(|needle| needle.len()).sum::<usize>() > NEEDLES_MAX_BYTES {
            return Err(TooLarge);
        }
        Ok(Self {
            automaton: Automaton::new(&found),
            beginnings: Beginnings::new(&found),
            needles: found,
        })
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    #[cfg(test)]
    pub(super) fn needles(&self) -> &[Zeroizing<Vec<u8>>] {
        &self.needles
    }

    pub(super) fn automaton(&self) -> &Automaton {
        &self.automaton
    }

    /// Where in `text` the next needle may begin, and how much of it has to be followed from there;
    /// or from where on the text is too short to tell.
    #[inline]
    pub(super) fn next_beginning(&self, text: &[u8]) -> Result<(usize, usize), usize> {
        let stride = self.beginnings.stride;
        let mut at = 0;
        while let Some(sample) = text.get(at..).and_then(<[u8]>::first_chunk) {
            if self.beginnings.has(*sample) {
                let start = at.saturating_sub(stride - 1);
                return Ok((start, at + SAMPLE - start));
            }
            at += stride;
        }
        Err((at + 1).saturating_sub(stride))
    }

    /// The state of this matcher that stands for the same text as the state of a smaller one, and
    /// each needle on the way: where it ends, and its length.
    pub(super) fn translate(&self, text: &[u8], mut found: impl FnMut(usize, usize)) -> State {
        let mut state = ROOT;
        for (index, &byte) in text.iter().enumerate() {
            state = self.automaton.next(state, byte);
            let length = self.automaton.longest(state);
            if length > 0 {
                found(index + 1, length);
            }
        }
        state
    }
}

/// Which four bytes stand where at the beginning of a needle; some others pass too.
struct Beginnings {
    bits: Vec<u64>,
    shift: u32,
    /// So far apart may samples lie without missing a needle: each has this many of them.
    stride: usize,
}

impl Default for Beginnings {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Beginnings {
    fn new(needles: &[Zeroizing<Vec<u8>>]) -> Self {
        let shortest = needles.iter().map(|needle| needle.len()).min();
        let stride = shortest.unwrap_or(SAMPLE).saturating_sub(SAMPLE - 1).max(1);
        // One bit in a hundred or so is set, within what the nearest caches hold.
        let size = needles.len() * stride * 64;
        let size = size.next_power_of_two().clamp(1 << 10, 1 << 19);
        let mut beginnings = Self {
            bits: vec![0; size / 64],
            shift: 32 - size.trailing_zeros(),
            stride,
        };
        for needle in needles {
            for sample in needle.array_windows().take(stride) {
                let (word, bit) = beginnings.place(*sample);
                if let Some(word) = beginnings.bits.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        beginnings
    }

    #[inline]
    fn has(&self, sample: [u8; SAMPLE]) -> bool {
        let (word, bit) = self.place(sample);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    #[inline]
    fn place(&self, sample: [u8; SAMPLE]) -> (usize, u64) {
        let hash = u32::from_le_bytes(sample).wrapping_mul(0x9e37_79b1) >> self.shift;
        ((hash / 64) as usize, 1 << (hash % 64))
    }
}

/// Never shows what is looked for.
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("states", &self.automaton.states())
            .finish_non_exhaustive()
    }
}
