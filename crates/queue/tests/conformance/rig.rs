//! What a scenario runs on: one implementation, freshly rebuilt, that can be wiped.

use std::{future::Future, panic, path::Path, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    interfaces::{ClientInterface, ClientLike, KeysInterface},
    types::{
        Builder,
        config::{Config, ServerConfig, TlsConnector},
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use slipway_core::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
    ports::{Claimed, Enqueued, Entry, EventBus, JobQueue, LeaseToken},
    settings,
};
use slipway_queue::{
    Backends,
    memory::{MemoryBus, MemoryQueue},
};

/// Entries that the index of a rig takes unforced.
pub(crate) const CAP: usize = 8;
/// Long enough for any machine to do what a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Shorter than the time after which waiting on Redis ends by itself.
pub(crate) const SOON: Duration = Duration::from_secs(4);
/// A time that does not pass during a test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// Longer than the tests ever run at once.
pub(crate) const MANY: u32 = 1000;

/// One implementation under test.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) bus: Arc<dyn EventBus>,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Memory(Arc<MemoryQueue>),
    Redis(RawRedis),
}

impl Rig {
    /// An in-memory index that is still lost.
    pub(crate) fn memory() -> Self {
        let queue = Arc::new(MemoryQueue::new(CAP));
        Self {
            queue: Arc::<MemoryQueue>::clone(&queue),
            bus: Arc::new(MemoryBus::new()),
            store: Store::Memory(queue),
        }
    }

    /// An index on the test server, still lost, under a prefix of its own.
    pub(crate) async fn redis() -> Self {
        Self::over(&RawRedis::open(settings_from_environment()).await).await
    }

    async fn over(raw: &RawRedis) -> Self {
        let backends = raw.backends().await;
        Self {
            queue: backends.queue,
            bus: backends.bus,
            store: Store::Redis(raw.clone()),
        }
    }

    /// Loses all data, as a restart without persistence does.
    pub(crate) async fn wipe(&self) {
        match &self.store {
            Store::Memory(queue) => queue.wipe(),
            Store::Redis(raw) => raw.wipe().await,
        }
    }

    /// Rebuilds an index that nothing belongs in.
    pub(crate) async fn rebuild_empty(&self) {
        assert!(self.queue.begin_rebuild().await.unwrap());
        self.queue.end_rebuild().await.unwrap();
    }

    pub(crate) async fn add(&self, entries: &[Entry]) {
        for entry in entries {
            let added = self.queue.enqueue(*entry, true).await.unwrap();
            assert!(
                matches!(added, Enqueued::Added { .. }),
                "{entry:?}: {added:?}"
            );
        }
    }

    /// Claims with a fresh token and a long lease.
    pub(crate) async fn claim(&self) -> Claimed {
        let token = token();
        self.queue.claim(&token, LONG, MANY).await.unwrap()
    }

    /// Claims `expected` and answers its lease.
    pub(crate) async fn claim_this(&self, expected: Entry) -> LeaseToken {
        let token = token();
        let claimed = self.queue.claim(&token, LONG, MANY).await.unwrap();
        assert_eq!(claimed, Claimed::Entry(expected));
        token
    }

    pub(crate) async fn places(&self, entries: &[Entry]) -> Vec<slipway_core::ports::Place> {
        let ids: Vec<DeploymentId> = entries.iter().map(|entry| entry.id).collect();
        let places = self.queue.places(&ids).await.unwrap();
        ids.iter().map(|id| places[id]).collect()
    }
}

/// Deployment `id` of target `target`.
pub(crate) fn entry(id: i64, target: i64) -> Entry {
    ranked(id, target, Priority::Manual)
}

/// The same with a priority of its own.
pub(crate) fn ranked(id: i64, target: i64, priority: Priority) -> Entry {
    Entry {
        id: DeploymentId(id),
        target: TargetId(target),
        priority,
    }
}

pub(crate) fn token() -> LeaseToken {
    LeaseToken::random().unwrap()
}

/// Runs a scenario on the in-memory index.
pub(crate) async fn on_memory<F>(scenario: impl FnOnce(Rig) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let rig = Rig::memory();
    rig.rebuild_empty().await;
    scenario(rig).await;
}

/// Runs a scenario on Redis and leaves no key behind, whatever comes of it.
pub(crate) async fn on_redis<F>(scenario: impl FnOnce(Rig) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    on_raw_redis(|rig, _raw| scenario(rig)).await;
}

/// Does the same for a scenario that looks at the keys themselves.
pub(crate) async fn on_raw_redis<F>(scenario: impl FnOnce(Rig, RawRedis) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let raw = RawRedis::open(settings_from_environment()).await;
    let rig = Rig::over(&raw).await;
    rig.rebuild_empty().await;
    let outcome = tokio::spawn(scenario(rig, raw.clone())).await;
    raw.wipe().await;
    if let Err(failed) = outcome {
        panic::resume_unwind(failed.into_panic());
    }
}

/// A plain connection beside the queue's, to look at its keys and to damage them.
#[derive(Clone)]
pub(crate) struct RawRedis {
    pub(crate) client: Client,
    pub(crate) settings: settings::Redis,
}

impl RawRedis {
    pub(crate) async fn open(settings: settings::Redis) -> Self {
        let password = settings.password.as_ref();
        let config = Config {
            server: ServerConfig::new_centralized(settings.host.clone(), settings.port),
            password: password.map(|password| password.expose_secret().to_owned()),
            tls: settings
                .ca_file
                .as_deref()
                .map(|file| trusting(file).into()),
            ..Config::default()
        };
        let client = Builder::from_config(config).build().unwrap();
        client.init().await.expect("the test server answers");
        Self { client, settings }
    }

    pub(crate) async fn backends(&self) -> Backends {
        slipway_queue::connect_capped(&self.settings, CAP)
            .await
            .unwrap()
    }

    /// A key of the index by the last part of its name.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.settings.prefix)
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut cursor = "0".to_owned();
        let mut found = Vec::new();
        loop {
            let (next, page): (String, Vec<String>) = self
                .client
                .scan_page(cursor, self.key("*"), Some(1000), None)
                .await
                .unwrap();
            found.extend(page);
            if next == "0" {
                return found;
            }
            cursor = next;
        }
    }

    pub(crate) async fn wipe(&self) {
        for key in self.keys().await {
            let _: u64 = self.client.del(key).await.unwrap();
        }
    }

    /// How many connections the server has, this one included.
    pub(crate) async fn connections(&self) -> usize {
        let list = self.client.client_list::<String, String>(None, None);
        let list = list.await.unwrap();
        list.lines().count()
    }
}

fn trusting(file: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
        .into()
}

/// The test server, and a prefix that no other test uses.
pub(crate) fn settings_from_environment() -> settings::Redis {
    settings_from_url(&slipway_testkit::redis_url())
}

/// Settings for `redis[s]://[:password@]host:port`.
pub(crate) fn settings_from_url(url: &str) -> settings::Redis {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (password, address) = match rest.rsplit_once('@') {
        Some((user, address)) => (user.split_once(':').map(|(_, it)| it), address),
        None => (None, rest),
    };
    let (host, port) = address
        .trim_end_matches('/')
        .split_once(':')
        .expect("host:port");
    settings::Redis {
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        username: None,
        password: password.map(SecretString::from),
        tls: scheme == "rediss",
        password_file: None,
        ca_file: None,
        database: 0,
        prefix: format!("{{t{}}}", token().as_str()),
    }
}
