//! What a service that carries messages has to be able to, and the list of those that there are.
//!
//! A provider holds credentials, a channel is a place within it; both are described by fields, so
//! that forms, checks and storage need to know nothing about a service.

pub mod entity;
pub mod service;
pub mod store;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::notice::Notice;
use crate::error::FieldError;

/// One value that somebody fills in.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON and in forms, `snake_case`.
    pub name: &'static str,
    /// What people read.
    pub label: &'static str,
    /// A sentence that says what belongs here.
    pub help: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it is encrypted and never shown again.
    pub secret: bool,
    /// What kind of value it is.
    pub kind: FieldKind,
}

/// What kind of value a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A line of text.
    Text,
    /// An address that begins with `https://` or `http://`.
    Url,
    /// A whole number between two others.
    Number(u32, u32),
    /// One or more mail addresses, separated by commas.
    Addresses,
    /// One of these.
    Choice(&'static [&'static str]),
}

/// Filled-in fields, by name. They may hold secrets, so they are not printed, and wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// The value of a field, if it has one that is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Fills in a field.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        if let Some(mut old) = self.0.insert(name.into(), value.into()) {
            old.zeroize();
        }
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Values {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

/// One message on its way to one channel.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// What the provider's fields hold.
    pub provider: &'a Values,
    /// What the channel's fields hold.
    pub channel: &'a Values,
    /// What is told.
    pub notice: &'a Notice,
    /// The same for every attempt at the same message, and for no other message.
    pub key: &'a str,
}

/// How an attempt to send ended. `answer` is for people: short, and without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The service has taken it.
    Delivered {
        /// What it answered.
        answer: String,
    },
    /// It may work later.
    Later {
        /// What it answered, or what went wrong.
        answer: String,
        /// How long the service asked to be left alone.
        after: Option<Duration>,
    },
    /// It will never work like this.
    Refused {
        /// What it answered.
        answer: String,
    },
}

/// A service that carries messages.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// The stored name, such as `discord`.
    fn kind(&self) -> &'static str;

    /// The name that people know.
    fn label(&self) -> &'static str;

    /// What a provider is made of: mostly credentials.
    fn provider_fields(&self) -> &'static [Field];

    /// What a channel is made of: mostly a place.
    fn channel_fields(&self) -> &'static [Field];

    /// Says what is wrong with a provider's values, beyond what the fields say themselves.
    ///
    /// # Errors
    /// One entry for each value that is not acceptable, named like the field.
    fn check_provider(&self, values: &Values) -> Result<(), Vec<FieldError>>;

    /// Says what is wrong with a channel's values, beyond what the fields say themselves.
    ///
    /// # Errors
    /// One entry for each value that is not acceptable, named like the field.
    fn check_channel(&self, provider: &Values, values: &Values) -> Result<(), Vec<FieldError>>;

    /// Sends one message, once. It is bounded in time and in what it reads of the answer.
    async fn send(&self, parcel: Parcel<'_>) -> Verdict;
}

/// The services that there are, in the order in which they are offered.
#[derive(Clone, Debug, Default)]
pub struct Registry(Vec<Arc<dyn Provider>>);

impl Registry {
    /// Takes one more; a later one of the same kind stands in for the earlier one.
    #[must_use]
    pub fn with(mut self, provider: impl Provider + 'static) -> Self {
        self.0.retain(|known| known.kind() != provider.kind());
        self.0.push(Arc::new(provider));
        self
    }

    /// The service of that kind.
    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&Arc<dyn Provider>> {
        self.0.iter().find(|known| known.kind() == kind)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.0.iter()
    }
}
