//! The services that carry messages, one file each, and the one way by which they reach the network.
//!
//! `story` says in neutral words what a notice tells, each file in `provider` puts it into its
//! service's form, and `outgoing` decides where a connection may go. Nothing here knows the database,
//! when to send, or how often to try.

pub mod answer;
pub mod outgoing;
pub mod provider;
mod story;
mod text;

use std::sync::Arc;

use slipway_core::{notify::Registry, settings::Notifications};

use outgoing::Outgoing;

/// Every service that this build knows, in the order in which they are offered.
///
/// # Errors
/// When the settings name a file or a destination that cannot be used.
pub fn registry(settings: &Notifications) -> anyhow::Result<Registry> {
    Ok(registry_over(&Arc::new(Outgoing::new(settings)?)))
}

/// The same over a network of one's own choice.
#[must_use]
pub fn registry_over(outgoing: &Arc<Outgoing>) -> Registry {
    let way = || Arc::clone(outgoing);
    Registry::default()
        .with(provider::Slack::new(way()))
        .with(provider::Discord::new(way()))
        .with(provider::Teams::new(way()))
        .with(provider::Mattermost::new(way()))
        .with(provider::Telegram::new(way()))
        .with(provider::Smtp::new(way()))
        .with(provider::Ntfy::new(way()))
        .with(provider::Webhook::new(way()))
}
