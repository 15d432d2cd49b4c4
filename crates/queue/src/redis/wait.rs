//! Waiting for work: the only command that blocks, on a connection of its own.
//!
//! A wake token says "look again" and nothing else, so losing one costs a poll. The blocking pop
//! runs in a task: callers may give up at any time without leaving a blocked connection behind, and
//! a token that comes when nobody waits any more is handed back for another process.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    error::{Error, ErrorKind},
    interfaces::{ClientLike, ListInterface},
    types::{Key, config::Options},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::client::{Clients, Link};

/// The longest that a caller waits, whatever it asks for: a token may be lost.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// What the server is asked to wait.
const BLOCK_SECONDS: f64 = 5.0;
/// When the server should long have answered; the connection is replaced.
const STUCK: Duration = Duration::from_secs(8);
/// Between attempts while the server is away.
const PAUSE: Duration = Duration::from_millis(50);

/// Lets any number of callers wait for the next wake token.
#[derive(Debug)]
pub(super) struct Waiter {
    shared: Arc<Shared>,
    /// Started by the first caller: a process that never waits needs no second connection.
    task: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    commands: Arc<Link>,
    clients: Clients,
    wake: Key,
    waiting: AtomicUsize,
    asked: Notify,
    came: Notify,
}

impl Waiter {
    pub(super) fn new(commands: Arc<Link>, clients: Clients, wake: Key) -> Self {
        let shared = Shared {
            commands,
            clients,
            wake,
            waiting: AtomicUsize::new(0),
            asked: Notify::new(),
            came: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
            task: OnceLock::new(),
        }
    }

    /// Waits for a token, or for `longest`, but for no more than five seconds.
    pub(super) async fn wait(&self, longest: Duration) {
        let shared = &self.shared;
        self.task
            .get_or_init(|| AbortOnDropHandle::new(tokio::spawn(watch(Arc::clone(shared)))));
        // Made before the caller counts as waiting, so that no token passes in between.
        let came = shared.came.notified();
        let _waiting = Waiting::new(&shared.waiting);
        shared.asked.notify_one();
        // Running out of time is as good an answer as a token.
        let _ = timeout(longest.min(WAIT_MAX), came).await;
    }
}

/// Counts one caller for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What came of one blocking pop.
enum Popped {
    Token,
    Nothing,
    Stuck,
}

async fn watch(shared: Arc<Shared>) {
    loop {
        match shared.clients.for_blocking() {
            Ok(client) => shared.serve(&Link::open(client)).await,
            Err(error) => tracing::warn!(%error, "no connection to wait for work on"),
        }
        sleep(PAUSE).await;
    }
}

impl Shared {
    /// Pops tokens for those who wait, until the connection is stuck.
    async fn serve(&self, link: &Link) {
        loop {
            if self.waiting.load(Ordering::SeqCst) == 0 {
                self.asked.notified().await;
                continue;
            }
            match self.pop(link).await {
                Popped::Token => self.hand_out().await,
                Popped::Nothing => {}
                Popped::Stuck => {
                    tracing::warn!("a connection to Redis is stuck and is replaced");
                    return;
                }
            }
        }
    }

    async fn pop(&self, link: &Link) -> Popped {
        let Ok(client) = link.connected() else {
            sleep(PAUSE).await;
            return Popped::Nothing;
        };
        // The library's own timeout would leave the connection blocked behind our back.
        let options = Options {
            timeout: Some(Duration::ZERO),
            ..Options::default()
        };
        let client = client.with_options(&options);
        let pop = client.blpop::<Option<(String, String)>, _>(self.wake.clone(), BLOCK_SECONDS);
        match timeout(STUCK, pop).await {
            Err(_) => Popped::Stuck,
            Ok(Ok(token)) => token.map_or(Popped::Nothing, |_| Popped::Token),
            // This is how the library reports that the list stayed empty.
            Ok(Err(error)) if *error.kind() == ErrorKind::Timeout => Popped::Nothing,
            Ok(Err(error)) => {
                tracing::debug!(%error, "waiting for work failed");
                sleep(PAUSE).await;
                Popped::Nothing
            }
        }
    }

    async fn hand_out(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.came.notify_waiters();
            // Whoever still waits after this has asked after it.
            self.asked.notified().await;
            return;
        }
        if let Ok(client) = self.commands.connected() {
            let returned: Result<u64, Error> = client.lpush(self.wake.clone(), "1").await;
            if let Err(error) = returned {
                tracing::debug!(%error, "a wake token was lost; workers poll instead");
            }
        }
    }
}
