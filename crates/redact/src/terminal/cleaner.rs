//! Turns raw output into text whose only control sequences are colours.

use std::{borrow::Cow, mem};

use super::ESCAPE;

/// Stands for what cannot be shown.
const REPLACEMENT: &str = "\u{fffd}";

/// Longer colour sequences than this are not colours.
const PARAMETERS_MAX: usize = 64;

/// Cleans a stream of output, whatever pieces it comes in.
///
/// What comes out is valid UTF-8 without control characters other than tab, line feed, carriage
/// return and those of colour sequences. An unfinished sequence swallows no more than its line.
#[derive(Debug, Default)]
pub struct Cleaner {
    place: Place,
    /// The start of a character whose other bytes have not come yet.
    unfinished: Vec<u8>,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Text,
    /// After ESC and the intermediate bytes that may follow it.
    Escape,
    /// Within `ESC [ ..`; the parameters as long as they can be a colour's.
    Sequence(Option<String>),
    /// Within a string that only a terminal reads: a title, a link, an image.
    Hidden,
    /// After an ESC in such a string, which a backslash ends.
    HiddenEscape,
}

impl Cleaner {
    /// Cleans the next bytes and appends them to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let bytes = if self.unfinished.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            let mut joined = mem::take(&mut self.unfinished);
            joined.extend_from_slice(bytes);
            Cow::Owned(joined)
        };
        let mut rest = &*bytes;
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => return self.text(text, out),
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            self.text(&String::from_utf8_lossy(valid), out);
            let Some(length) = error.error_len() else {
                self.unfinished = invalid.to_vec();
                return;
            };
            self.text(REPLACEMENT, out);
            rest = invalid.get(length..).unwrap_or_default();
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !mem::take(&mut self.unfinished).is_empty() {
            self.text(REPLACEMENT, out);
        }
        self.place = Place::Text;
    }

    fn text(&mut self, mut text: &str, out: &mut Vec<u8>) {
        while !text.is_empty() {
            if matches!(self.place, Place::Text) {
                let plain = text.bytes().position(needs_care).unwrap_or(text.len());
                let (head, tail) = text.split_at(plain);
                out.extend_from_slice(head.as_bytes());
                text = tail;
            }
            let mut chars = text.chars();
            if let Some(c) = chars.next() {
                self.place = self.next_place(c, out);
            }
            text = chars.as_str();
        }
    }

    fn next_place(&mut self, c: char, out: &mut Vec<u8>) -> Place {
        match (mem::take(&mut self.place), c) {
            (Place::Text, _) => character(c, out),
            (Place::Hidden, '\x1b') => Place::HiddenEscape,
            (Place::HiddenEscape, '\\')
            | (Place::Hidden | Place::HiddenEscape, '\x07' | '\x18' | '\x1a' | '\u{9c}') => {
                Place::Text
            }
            (Place::Hidden | Place::HiddenEscape, '\n') => character(c, out),
            (Place::Hidden, _) => Place::Hidden,
            (Place::HiddenEscape, _) => escape(c, out),
            (Place::Escape, _) => escape(c, out),
            (Place::Sequence(parameters), _) => sequence(parameters, c, out),
        }
    }
}

/// Bytes at which plain text may end: control characters, and the first bytes of every character
/// that is not shown as it is.
fn needs_care(byte: u8) -> bool {
    matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 0x7f | 0xc2 | 0xd8 | 0xe2)
}

fn character(c: char, out: &mut Vec<u8>) -> Place {
    match c {
        '\x1b' => return Place::Escape,
        '\u{9b}' => return Place::Sequence(Some(String::new())),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => return Place::Hidden,
        // Marks that turn the direction of what follows, and so can show a line as another one.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
        }
        '\u{2028}' | '\u{2029}' => out.extend_from_slice(REPLACEMENT.as_bytes()),
        '\t' | '\n' | '\r' => out.push(c as u8),
        c if c.is_control() => out.extend_from_slice(REPLACEMENT.as_bytes()),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    Place::Text
}

fn escape(c: char, out: &mut Vec<u8>) -> Place {
    match c {
        '[' => Place::Sequence(Some(String::new())),
        ']' | 'P' | 'X' | '^' | '_' => Place::Hidden,
        ' '..='/' => Place::Escape,
        '0'..='~' => Place::Text,
        _ => character(c, out),
    }
}

fn sequence(parameters: Option<String>, c: char, out: &mut Vec<u8>) -> Place {
    match (parameters, c) {
        (Some(mut parameters), '0'..=';') if parameters.len() < PARAMETERS_MAX => {
            parameters.push(c);
            Place::Sequence(Some(parameters))
        }
        (Some(parameters), 'm') => {
            out.extend_from_slice(&[ESCAPE, b'[']);
            out.extend_from_slice(parameters.as_bytes());
            out.push(b'm');
            Place::Text
        }
        (_, ' '..='?') => Place::Sequence(None),
        (_, '@'..='~') => Place::Text,
        _ => character(c, out),
    }
}

/// The whole of `bytes`, cleaned.
#[must_use]
pub fn cleaned(bytes: &[u8]) -> Vec<u8> {
    let (mut cleaner, mut out) = (Cleaner::default(), Vec::with_capacity(bytes.len()));
    cleaner.push(bytes, &mut out);
    cleaner.finish(&mut out);
    out
}
