//! The text as it is searched: without colours, and indifferent to how it is laid out.
//!
//! A run of blanks and line ends counts as one blank, so a key is the same key on one line or on
//! many, with line feeds or with carriage returns. After a long word it counts as nothing at all:
//! encoders fold their output at some column, and where the fold lies depends on what stands before
//! the secret. Needles are looked at in the same way, or nothing would ever match.

use crate::terminal::{ColourSkip, ESCAPE};

/// From this many characters without a blank on, a blank may be a fold: below the 60 columns of
/// `xxd`, the 64 of key files and the 76 of mail, above the words of ordinary text.
pub(super) const FOLD_AFTER: usize = 40;

/// Makes the searched text of a stream, whatever pieces it comes in.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    colours: ColourSkip,
    /// Length of the word at the end.
    word: usize,
    /// The last byte was a blank.
    blank: bool,
    /// Bytes of the searched text so far, and bytes that were left out of it.
    made: usize,
    left_out: usize,
    /// From which place in the searched text on how many bytes had been left out.
    skips: Vec<Skip>,
}

#[derive(Clone, Copy, Debug)]
struct Skip {
    at: usize,
    left_out: usize,
}

impl View {
    /// Appends what there is to search in the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut at = out.len();
        out.resize(at + bytes.len(), 0);
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            if (byte == ESCAPE || self.colours.is_inside()) && self.colours.skips(byte) {
                self.skip(self.made);
                rest = tail;
                continue;
            }
            let room = out.get_mut(at..).unwrap_or_default();
            let (read, made) = self.plain(rest, room);
            at += made;
            rest = rest.get(read..).unwrap_or_default();
        }
        out.truncate(at);
    }

    /// Takes text up to the next escape; at least one byte. Answers how much it has read and made.
    #[inline]
    fn plain(&mut self, text: &[u8], out: &mut [u8]) -> (usize, usize) {
        let (mut word, mut blank) = (self.word, self.blank);
        let (mut read, mut made) = (0, 0);
        for &byte in text {
            if byte == ESCAPE && read > 0 {
                break;
            }
            read += 1;
            let is_blank = is_blank(byte);
            let skips = is_blank & (blank | (word >= FOLD_AFTER));
            blank = is_blank;
            word = if is_blank { 0 } else { word + 1 };
            if skips {
                self.skip(self.made + made);
                continue;
            }
            if let Some(place) = out.get_mut(made) {
                *place = if is_blank { b' ' } else { byte };
            }
            made += 1;
        }
        (self.word, self.blank) = (word, blank);
        self.made += made;
        (read, made)
    }

    /// Leaves a byte out of the searched text, before its byte `at`.
    fn skip(&mut self, at: usize) {
        self.left_out += 1;
        match self.skips.last_mut() {
            Some(last) if last.at == at => last.left_out = self.left_out,
            _ => self.skips.push(Skip {
                at,
                left_out: self.left_out,
            }),
        }
    }

    /// How much searched text there is so far.
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// Where a byte of the searched text stands in the stream.
    pub(super) fn place(&self, at: usize) -> usize {
        let after = self.skips.partition_point(|skip| skip.at <= at);
        let skip = after.checked_sub(1).and_then(|index| self.skips.get(index));
        at + skip.map_or(0, |skip| skip.left_out)
    }

    /// No place before `at` will be asked for.
    pub(super) fn forget_before(&mut self, at: usize) {
        let after = self.skips.partition_point(|skip| skip.at <= at);
        self.skips.drain(..after.saturating_sub(1));
    }
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
