//! Master keys and the session secret: only good ones come into being.
//!
//! Key derivation and encryption are the business of `ring` and `cipher`.

use std::{collections::BTreeSet, fmt};

use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::vault::cipher::VaultError;

const KEY_BYTES: usize = 32;
const SESSION_SECRET_MIN_CHARS: usize = 32;
/// Longest repeated pattern that is looked for, in bytes of a key or characters of a secret.
const PATTERN_MAX: usize = 16;
/// 32 random bytes have fewer different values than this about once in 10^20 times.
const DIFFERENT_BYTES_MIN: usize = 16;
const DIFFERENT_CHARS_MIN: usize = 8;

/// Keys that people meet in standards and examples and that no rule below would catch.
const SAMPLE_KEYS: [&str; 3] = [
    // FIPS 197 and SP 800-38A, the AES-256 examples.
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
    // SHA-256 of nothing, which a script with an unset variable makes.
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    // SHA-256 of `password`.
    "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
];
/// Words that appear in placeholders and never in random text.
const SAMPLE_WORDS: [&str; 8] = [
    "change",
    "replace",
    "example",
    "placeholder",
    "sample",
    "secret",
    "password",
    "session",
];

/// Why a key cannot be used, as the rest of a sentence that begins with its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("is missing; `slipway keys generate` prints a good one")]
    Missing,
    /// It does not have 64 characters.
    #[error(
        "has {0} characters instead of 64 hexadecimal ones; `slipway keys generate` prints a good one"
    )]
    Length(usize),
    /// Something in it is not a hexadecimal digit.
    #[error(
        "has a character that is not a hexadecimal digit at position {0}; \
         `slipway keys generate` prints a good one"
    )]
    NotHex(usize),
    /// The session secret is too short.
    #[error("has {0} characters, fewer than 32; `slipway keys generate` prints a good one")]
    Short(usize),
    /// It is one character or a short pattern over and over.
    #[error("repeats itself and can be guessed; `slipway keys generate` prints a good one")]
    Repeated,
    /// It counts up or down.
    #[error("is a plain sequence and can be guessed; `slipway keys generate` prints a good one")]
    Sequence,
    /// It stands in some documentation.
    #[error("is a sample that everybody knows; `slipway keys generate` prints a good one")]
    Sample,
}

/// A 256-bit key from which the keys of projects are derived.
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// Reads 64 hexadecimal characters; space around them is ignored.
    ///
    /// # Errors
    ///
    /// Says what is wrong with a key that is none or that can be guessed, and how to make one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return Err(KeyError::Missing);
        }
        if let Some(position) = text.chars().position(|c| !c.is_ascii_hexdigit()) {
            return Err(KeyError::NotHex(position + 1));
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if hex::decode_to_slice(text, bytes.as_mut_slice()).is_err() {
            return Err(KeyError::Length(length));
        }
        if is_sample(text) {
            return Err(KeyError::Sample);
        }
        if counts(bytes.as_slice()) {
            return Err(KeyError::Sequence);
        }
        if repeats(bytes.as_slice(), DIFFERENT_BYTES_MIN) {
            return Err(KeyError::Repeated);
        }
        Ok(Self(bytes))
    }

    /// Makes a key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// When the operating system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// The key as 64 hexadecimal characters, to be written down once.
    #[must_use]
    pub fn to_hex(&self) -> SecretString {
        hex::encode(self.0.as_slice()).into()
    }

    /// Whether this is the same key, told in constant time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// A key for one use, which tells nothing about this one or about those for other uses.
    pub(in crate::vault) fn derive(
        &self,
        info: &[&[u8]],
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut derived = Zeroizing::new([0; 32]);
        let expanded = Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand_multi_info(info, derived.as_mut_slice());
        if expanded.is_err() {
            return Err(VaultError::Cipher);
        }
        Ok(derived)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([REDACTED])")
    }
}

/// What keys form tokens and list cursors.
#[derive(Clone, Debug)]
pub struct SessionSecret(SecretString);

impl SessionSecret {
    /// Takes 32 characters or more; space around them is ignored.
    ///
    /// # Errors
    ///
    /// Says what is wrong with a secret that is too short or can be guessed, and how to make one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return Err(KeyError::Missing);
        }
        if length < SESSION_SECRET_MIN_CHARS {
            return Err(KeyError::Short(length));
        }
        let lowered = Zeroizing::new(text.to_lowercase());
        if is_sample(text) || SAMPLE_WORDS.iter().any(|word| lowered.contains(word)) {
            return Err(KeyError::Sample);
        }
        if counts(text.as_bytes()) {
            return Err(KeyError::Sequence);
        }
        if repeats(text.as_bytes(), DIFFERENT_CHARS_MIN) {
            return Err(KeyError::Repeated);
        }
        Ok(Self(text.into()))
    }

    /// Makes a secret from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// When the operating system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(MasterKey::generate()?.to_hex()))
    }

    /// The secret's bytes, for a keyed hash.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

fn is_sample(text: &str) -> bool {
    SAMPLE_KEYS
        .iter()
        .any(|sample| sample.eq_ignore_ascii_case(text))
}

/// Whether every byte differs from the one before by the same step.
fn counts(bytes: &[u8]) -> bool {
    let mut steps = bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .map(|(a, b)| b.wrapping_sub(*a));
    let first = steps.next();
    first.is_some_and(|step| step != 0) && steps.all(|step| Some(step) == first)
}

/// Whether the bytes are a short pattern over and over, or a mixture of too few values.
fn repeats(bytes: &[u8], different_min: usize) -> bool {
    let pattern = |period: usize| {
        bytes
            .iter()
            .zip(bytes.iter().skip(period))
            .all(|(a, b)| a == b)
    };
    let different = bytes.iter().collect::<BTreeSet<_>>().len();
    different < different_min || (1..=PATTERN_MAX).any(pattern)
}

#[cfg(test)]
mod tests;
