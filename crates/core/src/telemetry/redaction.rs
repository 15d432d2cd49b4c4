//! What is masked in the log: values under names that promise a secret, and known values.
//!
//! Cheap and on the safe side: it may take too much, and it is no substitute for not logging
//! secrets.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::names;
use crate::settings::LogFormat;

/// What stands in a secret's place.
pub(super) const MASK: &str = "[REDACTED]";
/// Shorter values would take ordinary words out of the log.
const VALUE_MIN_BYTES: usize = 4;

/// Tells the log which values to mask; clones share them.
#[derive(Clone)]
pub struct Redaction {
    enabled: bool,
    values: Arc<RwLock<Vec<Zeroizing<String>>>>,
}

impl Redaction {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            values: Arc::default(),
        }
    }

    /// Masks this value from now on wherever it appears, unless `logging.redact_secrets` is off.
    ///
    /// Values of fewer than four bytes are ignored.
    pub fn add_value(&self, value: &SecretString) {
        let plain = value.expose_secret();
        if plain.len() < VALUE_MIN_BYTES {
            return;
        }
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms(plain) {
            if !values.contains(&form) {
                values.push(form);
            }
        }
        // A value that contains another one must be taken whole.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// The record without secrets.
    pub(super) fn mask<'r>(&self, record: &'r str, format: LogFormat) -> Cow<'r, str> {
        if !self.enabled {
            return Cow::Borrowed(record);
        }
        let mut masked = Cow::Borrowed(record);
        for value in &*self.values.read().unwrap_or_else(PoisonError::into_inner) {
            if masked.contains(value.as_str()) {
                masked = Cow::Owned(masked.replace(value.as_str(), MASK));
            }
        }
        match names::mask(&masked, format) {
            Some(without_named) => Cow::Owned(without_named),
            None => masked,
        }
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// A value as it is, and as the formats and `{:?}` write it when it needs escaping.
fn forms(plain: &str) -> [Zeroizing<String>; 5] {
    let (json, debug) = (json(plain), inner(format!("{plain:?}")));
    let (twice, both) = (self::json(&json), self::json(&debug));
    [Zeroizing::new(plain.to_owned()), json, debug, twice, both]
}

fn json(plain: &str) -> Zeroizing<String> {
    inner(serde_json::Value::from(plain).to_string())
}

fn inner(quoted: String) -> Zeroizing<String> {
    let quoted = Zeroizing::new(quoted);
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Zeroizing::new(inner.unwrap_or(&quoted).to_owned())
}
