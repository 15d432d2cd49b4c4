//! Secrets at rest: master keys, the cipher, and values that do not print themselves.
//!
//! A secret's plain text exists only here and in the environment of the step that needs it; how
//! rows are stored and who may write them is decided elsewhere.

pub mod cipher;
pub mod key;
pub mod load;
pub mod ring;
pub mod value;
