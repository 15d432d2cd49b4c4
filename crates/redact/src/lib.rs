//! Masks secrets in a stream of text, before a byte of it is stored or sent.
//!
//! Bytes in, bytes out, in pieces of any size. It stops accidents, not authors: whoever writes a
//! step that receives a secret can always print it in a form that nobody looks for. How a secret
//! may look is decided in `needles` and `view`; nothing here knows about lines, logs or Slipway.

mod automaton;
mod matcher;
mod needles;
pub mod terminal;
mod view;

use std::{fmt, mem, ops::Range, sync::Arc};

use zeroize::Zeroizing;

use automaton::{ROOT, State};
use matcher::SAMPLE;
use view::View;

pub use matcher::{Matcher, TooLarge};
pub use needles::{NEEDLE_MIN_BYTES as VALUE_MIN_BYTES, can_be_masked};

/// What is shown instead of a secret.
pub const MASK: &str = "[REDACTED]";

/// A secret with more than this many bytes of colours and blanks in it is not recognised; without a
/// limit, one character and endless colours would fill the memory.
const LEFT_OUT_MAX_BYTES: usize = 64 * 1024;

/// Masks one stream.
///
/// Matches that overlap or touch share one mask. Neither colours nor another layout hide a secret;
/// the input should have no other control sequences, see [`crate::terminal::Cleaner`]. Held back
/// are only those last bytes that may still be the beginning of a secret; everything before them is
/// handed on at once.
///
/// All positions are offsets in the whole stream, unless they are said to be in the searched text.
pub struct Redactor {
    matcher: Arc<Matcher>,
    state: State,
    view: View,
    /// What of the newest piece is searched.
    searched: Zeroizing<Vec<u8>>,
    /// What is not out yet, and where it begins.
    held: Zeroizing<Vec<u8>>,
    held_from: usize,
    /// Everything before is out, or covered by a mask that is out.
    next: usize,
    /// Where the input ends so far.
    end: usize,
    /// Where the last mask that is out stops covering.
    masked_to: Option<usize>,
    /// What is to be masked and not out yet; in order, neither overlapping nor touching.
    masks: Vec<Range<usize>>,
}

impl Redactor {
    /// A redactor at the start of its stream.
    #[must_use]
    pub fn new(matcher: Arc<Matcher>) -> Self {
        Self {
            matcher,
            state: ROOT,
            view: View::default(),
            searched: Zeroizing::default(),
            held: Zeroizing::default(),
            held_from: 0,
            next: 0,
            end: 0,
            masked_to: None,
            masks: Vec::new(),
        }
    }

    /// Looks for more from here on, in what is held back too. `matcher` has to know everything that
    /// the one before knew, see [`Matcher::with`].
    pub fn extend(&mut self, matcher: &Arc<Matcher>) {
        let begun = self.matcher.automaton().text(self.state);
        let from = self.view.made() - begun.len();
        self.matcher = Arc::clone(matcher);
        self.state = matcher.translate(&begun, |end, length| self.cover(from + end, length));
    }

    /// Takes the next bytes and appends to `out` whatever is now certain.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let before = self.view.made();
        self.searched.clear();
        self.view.push(chunk, &mut self.searched);
        self.held.extend_from_slice(chunk);
        self.end += chunk.len();
        if self.matcher.is_empty() {
            self.view.forget_before(self.view.made());
            return self.release(self.end, out);
        }
        self.search(before);
        let mut depth = self.matcher.automaton().depth(self.state);
        let mut certain = self.certain(depth);
        if self.end - certain > depth + LEFT_OUT_MAX_BYTES {
            self.state = ROOT;
            (depth, certain) = (0, self.end);
        }
        self.release(certain, out);
        self.view.forget_before(self.view.made() - depth);
    }

    /// Ends the stream: what was held back is no secret.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(self.end, out);
        self.state = ROOT;
        self.view.forget_before(self.view.made());
    }

    /// Before this place no later match can begin, when so many searched bytes may still become one.
    fn certain(&self, depth: usize) -> usize {
        match depth {
            0 => self.end,
            depth => self.view.place(self.view.made() - depth),
        }
    }

    /// Searches the newest piece, which begins at `before` in the searched text.
    fn search(&mut self, before: usize) {
        let matcher = Arc::clone(&self.matcher);
        let searched = mem::take(&mut self.searched);
        // What an earlier piece has begun has no beginning here that could be looked up.
        let mut at = self.follow(&searched, (0, 0), before);
        let rest = |at: usize| searched.get(at..).unwrap_or_default();
        let unknown = loop {
            match matcher.next_beginning(rest(at)) {
                Ok((start, count)) => at = self.follow(&searched, (at + start, count), before),
                Err(unknown) => break at + unknown,
            }
        };
        // The last bytes are too few to be looked up.
        for (index, &byte) in searched.iter().enumerate().skip(unknown) {
            self.step(byte, before + index + 1);
        }
        self.searched = searched;
    }

    /// Reads so many bytes, and on until what may become a secret is so short that its beginning can
    /// be looked up in this piece. Answers where that is; the state is the root's then.
    fn follow(&mut self, searched: &[u8], (mut at, count): (usize, usize), before: usize) -> usize {
        let least = at + count;
        loop {
            let depth = self.matcher.automaton().depth(self.state);
            if at >= least && depth < SAMPLE && depth <= at {
                self.state = ROOT;
                return at - depth;
            }
            let Some(&byte) = searched.get(at) else {
                return at;
            };
            at += 1;
            self.step(byte, before + at);
        }
    }

    /// Reads a byte that ends at `end` in the searched text.
    #[inline]
    fn step(&mut self, byte: u8, end: usize) {
        let automaton = self.matcher.automaton();
        self.state = automaton.next(self.state, byte);
        let length = automaton.longest(self.state);
        if length > 0 {
            self.cover(end, length);
        }
    }

    /// Notes that the `length` bytes before `end` in the searched text are to be masked.
    fn cover(&mut self, end: usize, length: usize) {
        let mut start = self.view.place(end - length);
        let mut end = self.view.place(end - 1) + 1;
        let first = self.masks.partition_point(|mask| mask.end < start);
        let after = self.masks.partition_point(|mask| mask.start <= end);
        for mask in self.masks.drain(first..after) {
            start = start.min(mask.start);
            end = end.max(mask.end);
        }
        match self.masked_to {
            Some(masked_to) if start <= masked_to => {
                self.masked_to = Some(masked_to.max(end));
                self.next = self.next.max(end);
            }
            _ => self.masks.insert(first, start..end),
        }
    }

    /// Hands on everything before `certain`, where no later match can begin.
    fn release(&mut self, certain: usize, out: &mut Vec<u8>) {
        let ready = self.masks.partition_point(|mask| mask.start <= certain);
        for index in 0..ready {
            let mask = self.masks.get(index).cloned().unwrap_or_default();
            self.emit_to(mask.start, out);
            out.extend_from_slice(MASK.as_bytes());
            self.next = mask.end;
            self.masked_to = Some(mask.end);
        }
        self.masks.drain(..ready);
        self.emit_to(certain, out);
        self.held.drain(..self.next - self.held_from);
        self.held_from = self.next;
    }

    /// Hands on the text up to `to`, less what a mask covers.
    fn emit_to(&mut self, to: usize, out: &mut Vec<u8>) {
        if self.next < to {
            let text = self
                .held
                .get(self.next - self.held_from..to - self.held_from);
            out.extend_from_slice(text.unwrap_or_default());
            self.next = to;
        }
    }
}

/// Says nothing of what is held back.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// The whole of a text without what any of these knows, or nothing when there is none of it.
pub fn redacted<'m>(
    matchers: impl IntoIterator<Item = &'m Arc<Matcher>>,
    text: &[u8],
) -> Option<Vec<u8>> {
    let mut masks: Vec<_> = matchers
        .into_iter()
        .flat_map(|matcher| places(matcher, text))
        .collect();
    if masks.is_empty() {
        return None;
    }
    masks.sort_unstable_by_key(|mask| mask.start);
    let (mut out, mut masked_to) = (Vec::with_capacity(text.len()), None);
    for mask in masks {
        if masked_to.is_none_or(|end| mask.start > end) {
            let from = masked_to.unwrap_or(0);
            out.extend_from_slice(text.get(from..mask.start).unwrap_or_default());
            out.extend_from_slice(MASK.as_bytes());
        }
        masked_to = masked_to.max(Some(mask.end));
    }
    let rest = text.get(masked_to.unwrap_or(0)..);
    out.extend_from_slice(rest.unwrap_or_default());
    Some(out)
}

/// Where secrets stand in a text.
fn places(matcher: &Arc<Matcher>, text: &[u8]) -> Vec<Range<usize>> {
    let mut redactor = Redactor::new(Arc::clone(matcher));
    redactor.view.push(text, &mut redactor.searched);
    redactor.search(0);
    redactor.masks
}

#[cfg(test)]
mod tests;
