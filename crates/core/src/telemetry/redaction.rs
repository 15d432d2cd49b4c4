//! What is masked in the log: values under names that promise a secret, and known values in every
//! spelling that `slipway_redact` knows.
//!
//! Cheap and on the safe side: it may take too much, and it is no substitute for not logging
//! secrets.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use serde::de::IgnoredAny;
use slipway_redact::{Matcher, redacted};

use super::names;
use crate::settings::LogFormat;

/// Tells the log which values to mask; clones share them.
#[derive(Clone)]
pub struct Redaction {
    enabled: bool,
    known: Arc<RwLock<Values>>,
}

#[derive(Default)]
struct Values {
    last: u64,
    matchers: BTreeMap<u64, Arc<Matcher>>,
}

/// Values that are masked for as long as this lives, unless `logging.redact_secrets` is off.
#[must_use = "the values are masked only while it lives"]
#[derive(Debug, Default)]
pub struct Known(Option<(Redaction, u64)>);

impl Redaction {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            known: Arc::default(),
        }
    }

    /// Masks these values wherever they appear.
    pub fn know(&self, values: Arc<Matcher>) -> Known {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.last += 1;
        let key = known.last;
        known.matchers.insert(key, values);
        Known(Some((self.clone(), key)))
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// The record without secrets.
    pub(super) fn mask<'r>(&self, record: &'r str, format: LogFormat) -> Cow<'r, str> {
        if !self.enabled {
            return Cow::Borrowed(record);
        }
        let masked = self.without_known(record);
        let masked = match names::mask(&masked, format) {
            Some(without_named) => Cow::Owned(without_named),
            None => masked,
        };
        match format {
            LogFormat::Json if !is_json(&masked) => {
                // A mask has taken a piece of the syntax with it, such as the digits of a number, or
                // somebody panicked while a record was written.
                Cow::Owned(serde_json::json!({ "message": masked }).to_string())
            }
            LogFormat::Json | LogFormat::Text => masked,
        }
    }

    /// The text without known values.
    pub(super) fn without_known<'r>(&self, text: &'r str) -> Cow<'r, str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match redacted(known.matchers.values(), text.as_bytes()) {
            Some(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
            None => Cow::Borrowed(text),
        }
    }
}

fn is_json(record: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(record).is_ok()
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some((redaction, key)) = &self.0 {
            let known = &redaction.known;
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            known.matchers.remove(key);
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
