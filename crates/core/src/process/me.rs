//! This process, as the others see it.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::counters::Counters;
use crate::db;

/// This process. Its name is fresh at each start: one that is used twice could not be told from the
/// one that was lost.
#[derive(Debug)]
pub struct Process {
    /// What nobody else is called; also the owner of its leases.
    pub name: String,
    /// The machine.
    pub host: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// What it has counted.
    pub counters: Counters,
    draining: AtomicBool,
    changed: Notify,
}

impl Process {
    /// Names this process after its host and something random.
    #[must_use]
    pub fn new() -> Self {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .chars()
            .take(100)
            .collect::<String>();
        let mut bytes = [0_u8; 4];
        if getrandom::fill(&mut bytes).is_err() {
            // Nothing could be leased without randomness anyway; the name need only differ.
            let nanos = Utc::now().timestamp_subsec_nanos() ^ std::process::id();
            bytes = nanos.to_be_bytes();
        }
        Self {
            name: format!("{host}-{}", hex::encode(bytes)),
            host,
            started_at: db::now(),
            counters: Counters::default(),
            draining: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Says from now on that it takes nothing new.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether it takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits until there is something to tell the others.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}
