//! Connections to Redis: how they are set up, kept alive and closed.
//!
//! The client library's defaults are wrong for a queue: it repeats commands whose answer was lost,
//! waits for ever while the server is away and keeps any number of commands for later. All of that
//! is switched off here; callers learn within seconds that a command failed and decide themselves.

use std::{fmt, time::Duration};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    socket2::TcpKeepalive,
    types::{
        Builder, InfoKind, RespVersion,
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, ServerConfig, TcpConfig,
            TlsConnector, UnresponsiveConfig,
        },
    },
};
use secrecy::ExposeSecret;
use slipway_core::{ports::QueueError, settings};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{error::ConnectError, tls};
use crate::memory::BACKLOG;

/// The longest that one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1500);
/// The longest that connecting, and then signing in, may take each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that owes an answer for this long is replaced.
const UNRESPONSIVE: Duration = Duration::from_secs(5);
/// The same for the connection that blocks on purpose.
const UNRESPONSIVE_BLOCKING: Duration = Duration::from_secs(10);
const RECONNECT_MIN_MS: u32 = 100;
const RECONNECT_MAX_MS: u32 = 2000;
/// Commands that may wait to be written; more are refused at once.
const COMMANDS_WAITING_MAX: usize = 1000;
/// Changes of a connection's state that its watchers may be behind by.
const EVENTS_WAITING_MAX: usize = 32;

/// Makes clients that are all set up alike; none is connected yet.
#[derive(Clone)]
pub(super) struct Clients(Config);

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration would print the password.
        f.debug_tuple("Clients").field(&self.0.server).finish()
    }
}

impl Clients {
    pub(super) fn new(settings: &settings::Redis) -> Result<Self, ConnectError> {
        let filled = |text: &String| !text.is_empty();
        let password = settings.password.as_ref();
        let tls = settings
            .tls
            .then(|| tls::client_config(settings.ca_file.as_deref()))
            .transpose()?;
        Ok(Self(Config {
            // The supervisor retries; this way it learns why an attempt failed.
            fail_fast: true,
            server: ServerConfig::new_centralized(settings.host.clone(), settings.port),
            username: settings.username.clone().filter(filled),
            password: password
                .map(|p| p.expose_secret().to_owned())
                .filter(filled),
            database: (settings.database != 0).then_some(settings.database),
            // Only version 3 answers ordinary commands on a subscribed connection.
            version: RespVersion::RESP3,
            tls: tls.map(|config| TlsConnector::from(config).into()),
            ..Config::default()
        }))
    }

    /// A client for commands that answer at once.
    pub(super) fn for_commands(&self) -> Result<Client, Error> {
        self.build(UNRESPONSIVE, EVENTS_WAITING_MAX)
    }

    /// A client for one command at a time, which blocks.
    pub(super) fn for_blocking(&self) -> Result<Client, Error> {
        self.build(UNRESPONSIVE_BLOCKING, EVENTS_WAITING_MAX)
    }

    /// A client that listens, with room for bursts of hints.
    pub(super) fn for_hints(&self) -> Result<Client, Error> {
        self.build(UNRESPONSIVE, BACKLOG)
    }

    fn build(&self, unresponsive: Duration, events_waiting_max: usize) -> Result<Client, Error> {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5));
        Builder::from_config(self.0.clone())
            .set_connection_config(ConnectionConfig {
                connection_timeout: CONNECT_TIMEOUT,
                internal_command_timeout: CONNECT_TIMEOUT,
                max_command_attempts: 1,
                max_command_buffer_len: COMMANDS_WAITING_MAX,
                unresponsive: UnresponsiveConfig {
                    max_timeout: Some(unresponsive),
                    interval: Duration::from_secs(1),
                },
                tcp: TcpConfig {
                    nodelay: Some(true),
                    keepalive: Some(keepalive),
                    ..TcpConfig::default()
                },
                ..ConnectionConfig::default()
            })
            .set_performance_config(PerformanceConfig {
                default_command_timeout: COMMAND_TIMEOUT,
                broadcast_channel_capacity: events_waiting_max,
                ..PerformanceConfig::default()
            })
            .set_policy(ReconnectPolicy::new_exponential(
                0,
                RECONNECT_MIN_MS,
                RECONNECT_MAX_MS,
                2,
            ))
            .build()
    }
}

/// A client that keeps itself connected until this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    _supervisor: AbortOnDropHandle<()>,
}

impl Link {
    /// Connects in the background.
    pub(super) fn open(client: Client) -> Self {
        let supervisor = tokio::spawn(supervise(client.clone()));
        Self {
            client,
            _supervisor: AbortOnDropHandle::new(supervisor),
        }
    }

    /// Connects in the background and waits for the first attempt to end, but not for long.
    pub(super) async fn open_observed(client: Client) -> (Self, Result<(), Error>) {
        let mut errors = client.error_rx();
        let link = Self::open(client);
        let connected = async {
            while !link.client.is_connected() {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let outcome = timeout(CONNECT_TIMEOUT, async {
            tokio::select! {
                Ok((error, _)) = errors.recv() => Err(error),
                () = connected => Ok(()),
            }
        });
        let slow = |_| Err(Error::new(ErrorKind::Timeout, "no answer yet"));
        let outcome = outcome.await.unwrap_or_else(slow);
        (link, outcome)
    }

    /// The client, if it is connected: a command must not wait for a server that is away.
    pub(super) fn connected(&self) -> Result<&Client, QueueError> {
        if self.client.is_connected() {
            Ok(&self.client)
        } else {
            Err(QueueError::Unavailable("not connected to Redis".to_owned()))
        }
    }

    /// The client, connected or not.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// Keeps a client's connection task alive. It reconnects by itself once it has been connected; it
/// ends when the first attempt fails, and when its own backlog of commands overflows.
async fn supervise(client: Client) {
    loop {
        let driver = AbortOnDropHandle::new(client.connect());
        match driver.await {
            Ok(Ok(())) => tracing::debug!("the connection to Redis ended"),
            Ok(Err(error)) => tracing::debug!(%error, "the connection to Redis ended"),
            Err(error) => tracing::warn!(%error, "the connection task of Redis failed"),
        }
        sleep(Duration::from_millis(u64::from(RECONNECT_MAX_MS) / 4)).await;
    }
}

/// Logs what would make this server lose or refuse entries later.
pub(super) async fn warn_of_unsuitable_server(link: &Link) {
    let version = link.client.server_version();
    if version.is_some_and(|version| (version.major, version.minor) < (6, 2)) {
        tracing::warn!("this Redis is older than 6.2, which the queue needs");
    }
    let memory: Result<String, Error> = link.client.info(Some(InfoKind::Memory)).await;
    match memory {
        Ok(report) => {
            if let Some(policy) = eviction_policy(&report).filter(|name| *name != "noeviction") {
                tracing::warn!(
                    policy,
                    "this Redis may evict the queue's keys: set maxmemory-policy noeviction"
                );
            }
        }
        Err(error) => tracing::debug!(%error, "the eviction policy of Redis is not known"),
    }
}

fn eviction_policy(report: &str) -> Option<&str> {
    let mut lines = report.lines();
    lines.find_map(|line| line.strip_prefix("maxmemory_policy:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eviction_policy_is_read_from_the_report() {
        let report = "# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(eviction_policy(report), Some("allkeys-lru"));
        assert_eq!(eviction_policy("# Memory"), None);
    }
}
