//! What output says to a terminal rather than to a reader.
//!
//! Only colours survive. Everything else that a terminal would act upon (cursor movement, window
//! titles, links, clipboard access, text direction) is taken out before a log is stored, because
//! a log is read in terminals and browsers that would act upon it again.

mod cleaner;
mod colour;

pub use cleaner::{Cleaner, cleaned};
pub use colour::{ColourSkip, uncoloured};

/// The start of every control sequence.
pub const ESCAPE: u8 = 0x1b;

#[cfg(test)]
mod tests;
