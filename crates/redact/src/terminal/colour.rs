//! Tells colour sequences (`ESC [ .. m`) from the text between them.

use super::ESCAPE;

/// Recognises the bytes of colour sequences in a stream, one byte at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColourSkip(Place);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    AfterEscape,
    Parameters,
}

impl ColourSkip {
    /// Whether `byte` belongs to a colour sequence; text is everything else.
    ///
    /// A sequence that turns out not to be a colour has been skipped up to that point. Cleaned
    /// output has none.
    #[inline]
    pub fn skips(&mut self, byte: u8) -> bool {
        if self.0 == Place::Text && byte != ESCAPE {
            return false;
        }
        self.0 = match (self.0, byte) {
            (_, ESCAPE) => Place::AfterEscape,
            (Place::AfterEscape, b'[') => Place::Parameters,
            (Place::Parameters, b'0'..=b'9' | b';' | b':') => Place::Parameters,
            (Place::Parameters, b'm') => {
                self.0 = Place::Text;
                return true;
            }
            _ => Place::Text,
        };
        self.0 != Place::Text
    }

    /// Whether a sequence has begun and not ended.
    #[inline]
    #[must_use]
    pub fn is_inside(self) -> bool {
        self.0 != Place::Text
    }
}

/// `bytes` without colours.
#[must_use]
pub fn uncoloured(bytes: &[u8]) -> Vec<u8> {
    let mut skip = ColourSkip::default();
    bytes
        .iter()
        .copied()
        .filter(|&byte| !skip.skips(byte))
        .collect()
}
