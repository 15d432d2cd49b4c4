//! The byte strings by which a secret is recognised in output.
//!
//! This is the only place that decides how a secret may look: as it is, line by line, in the
//! spellings that tools give it on its way (`spelling`), and in its parts, when it is a document, a
//! key file or an address with a password (`parts`).

mod code;
mod parts;
mod spelling;

use zeroize::Zeroizing;

use super::view::{FOLD_AFTER, View, is_blank};
use crate::terminal::cleaned;

/// A value shorter than this would mask half of every log; such secrets are refused where they are
/// stored, and ignored here.
pub const NEEDLE_MIN_BYTES: usize = 4;

/// Only a secret of this length is looked for in other spellings and in parts: what is left of a
/// shorter one could be a common word.
const DERIVED_MIN_BYTES: usize = 8;

/// A larger secret is looked for in its most common spellings only, to save memory.
const LARGE_BYTES: usize = 16 * 1024;

/// Documents within documents, and an address in one of those.
const PARTS_DEPTH_MAX: usize = 3;

/// Whether a value is long enough to be masked; blanks around it do not count.
#[must_use]
pub fn can_be_masked(value: &[u8]) -> bool {
    value.trim_ascii().len() >= NEEDLE_MIN_BYTES
}

/// Everything to look for when `secret` must not appear. Blanks around it are not part of it.
pub(super) fn needles(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut needles = Needles::default();
    let secret = secret.trim_ascii();
    needles.add(secret, NEEDLE_MIN_BYTES);
    needles.value(secret);
    for part in parts::parts(secret, PARTS_DEPTH_MAX) {
        needles.value(&part);
    }
    let mut found = needles.found;
    found.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
    found.dedup();
    found
}

#[derive(Default)]
struct Needles {
    found: Vec<Zeroizing<Vec<u8>>>,
}

impl Needles {
    /// A value of its own, in all its spellings.
    fn value(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        if value.len() < DERIVED_MIN_BYTES {
            return;
        }
        self.add(value, DERIVED_MIN_BYTES);
        let is_large = value.len() > LARGE_BYTES;
        for line in parts::lines(value) {
            self.add(line, DERIVED_MIN_BYTES);
            for spelling in spelling::lines(line, is_large) {
                self.add(&spelling, DERIVED_MIN_BYTES);
            }
        }
        for spelling in spelling::spellings(value, is_large) {
            self.add(&spelling, DERIVED_MIN_BYTES);
        }
    }

    /// A byte string as it is searched for, and as it is once its terminal control is gone.
    fn add(&mut self, text: &[u8], bytes_min: usize) {
        let clean = Zeroizing::new(cleaned(text));
        self.add_as_searched(text, 0, bytes_min);
        if *clean != *text {
            self.add_as_searched(&clean, 0, bytes_min);
        }
        // Behind other characters its first word is as long as what is folded.
        let word = clean
            .trim_ascii_start()
            .iter()
            .position(|&byte| is_blank(byte));
        if word.is_some_and(|length| length < FOLD_AFTER) {
            self.add_as_searched(&clean, FOLD_AFTER, bytes_min);
        }
    }

    fn add_as_searched(&mut self, text: &[u8], before: usize, bytes_min: usize) {
        let (mut view, mut needle) = (View::default(), Zeroizing::new(Vec::new()));
        // Spelled out: what stands before makes the same view that it makes in a text.
        view.push(&vec![b'.'; before], &mut needle);
        needle.clear();
        view.push(text.trim_ascii(), &mut needle);
        if needle.len() >= bytes_min {
            self.found.push(needle);
        }
    }
}

#[cfg(test)]
mod tests;
