//! Masks secrets in a stream of output, before a byte of it is stored or sent.
//!
//! Bytes in, bytes out, in pieces of any size. It stops accidents, not authors: whoever writes a
//! step that receives a secret can always print it in a form that nobody looks for. How a secret
//! may look is decided in `needles`, and nothing here knows about lines.

mod matcher;
mod needles;

use std::{fmt, ops::Range, sync::Arc};

use aho_corasick::automaton::StateID;
use zeroize::Zeroizing;

use crate::terminal::ColourSkip;

pub use matcher::{Matcher, RedactError};

/// What is shown instead of a secret.
pub const MASK: &[u8] = b"[REDACTED]";

/// A secret with more than this many bytes of colours in it is not recognised; without a limit,
/// one character and endless colours would fill the memory.
const COLOURS_MAX_BYTES: usize = 64 * 1024;

/// Masks one stream.
///
/// Matches that overlap or touch share one mask. Colours within a secret do not hide it; the
/// input should have no other control sequences, see [`crate::terminal::Cleaner`]. Held back are
/// only those last bytes that may still be the beginning of a secret; everything before them is
/// handed on at once.
///
/// All positions are offsets in the whole stream.
pub struct Redactor {
    matcher: Arc<Matcher>,
    state: StateID,
    colours: ColourSkip,
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
    /// Colour sequences that may lie within a match still to come.
    skipped: Vec<Range<usize>>,
}

impl Redactor {
    /// A redactor at the start of its stream.
    #[must_use]
    pub fn new(matcher: Arc<Matcher>) -> Self {
        Self {
            state: matcher.start(),
            matcher,
            colours: ColourSkip::default(),
            held: Zeroizing::default(),
            held_from: 0,
            next: 0,
            end: 0,
            masked_to: None,
            masks: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Takes the next bytes and appends to `out` whatever is now certain.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.matcher.is_empty() {
            out.extend_from_slice(chunk);
            return;
        }
        self.held.extend_from_slice(chunk);
        for &byte in chunk {
            self.end += 1;
            if self.colours.skips(byte) {
                self.skip();
                continue;
            }
            self.state = self.matcher.step(self.state, byte);
            if let Some(length) = self.matcher.match_length(self.state) {
                self.cover(self.start_of_last(length));
            }
        }
        let depth = self.matcher.depth(self.state);
        let mut certain = self.start_of_last(depth);
        if self.end - certain > depth + COLOURS_MAX_BYTES {
            self.state = self.matcher.start();
            certain = self.end;
        }
        self.release(certain, out);
    }

    /// Ends the stream: what was held back is no secret.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(self.end, out);
        self.state = self.matcher.start();
        self.colours = ColourSkip::default();
    }

    /// Notes that the last byte belongs to a colour sequence.
    fn skip(&mut self) {
        match self.skipped.last_mut() {
            Some(last) if last.end + 1 == self.end => last.end = self.end,
            _ => self.skipped.push(self.end - 1..self.end),
        }
    }

    /// Where the last `length` bytes of text begin.
    fn start_of_last(&self, length: usize) -> usize {
        let (mut end, mut length) = (self.end, length);
        for skipped in self.skipped.iter().rev() {
            let text = end - skipped.end;
            if length <= text {
                break;
            }
            length -= text;
            end = skipped.start;
        }
        end - length
    }

    /// Notes that everything from `start` to the end of the input is to be masked.
    fn cover(&mut self, start: usize) {
        if self.masked_to.is_some_and(|masked_to| start <= masked_to) {
            self.masks.clear();
            self.masked_to = Some(self.end);
            self.next = self.end;
            return;
        }
        let mut start = start;
        while let Some(last) = self.masks.pop_if(|last| last.end >= start) {
            start = start.min(last.start);
        }
        self.masks.push(start..self.end);
    }

    /// Hands on everything before `certain`, where no later match can begin.
    fn release(&mut self, certain: usize, out: &mut Vec<u8>) {
        let ready = self.masks.partition_point(|mask| mask.start <= certain);
        let masks: Vec<_> = self.masks.drain(..ready).collect();
        for mask in masks {
            self.emit_to(mask.start, out);
            out.extend_from_slice(MASK);
            self.next = mask.end;
            self.masked_to = Some(mask.end);
        }
        self.emit_to(certain, out);
        self.held.drain(..self.next - self.held_from);
        self.held_from = self.next;
        self.skipped.retain(|skipped| skipped.end > certain);
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

#[cfg(test)]
mod tests;
