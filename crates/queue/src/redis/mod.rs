//! The Redis implementation of both ports.
//!
//! `client` owns connections, `error` knows what goes wrong with them, `scripts` the protocol's
//! Lua and `answers` what it says; `queue` and `events` are the ports, `wait` is the one command
//! that blocks.

mod answers;
mod client;
mod error;
mod events;
mod queue;
mod scripts;
mod tls;
mod wait;

use std::sync::Arc;

use slipway_core::settings;

use crate::{Backends, keys::Keys};
use client::{Clients, Link};

pub use error::ConnectError;

/// Connects, and waits for the outcome of the first attempt.
pub(crate) async fn connect(
    settings: &settings::Redis,
    cap: usize,
) -> Result<Backends, ConnectError> {
    let clients = Clients::new(settings)?;
    let keys = Keys::new(&settings.prefix);
    let (link, attempt) = Link::open_observed(clients.for_commands()?).await;
    match attempt {
        Ok(()) => client::warn_of_unsuitable_server(&link).await,
        Err(error) => error::judge_first_attempt(&error)?,
    }
    let link = Arc::new(link);
    let bus = events::RedisBus::new(Arc::clone(&link), &clients, &keys)?;
    let queue = queue::RedisQueue::new(link, clients, keys, cap)?;
    Ok(Backends {
        queue: Arc::new(queue),
        bus: Arc::new(bus),
    })
}
