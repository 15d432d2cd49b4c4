//! An installation of its own: servers, proxies, folders, and the environment of every process.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::proxy::Proxy;
use crate::{MariadbServer, Program, RedisServer};

/// What every key of the index begins with.
const PREFIX: &str = "{chaos}";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
pub(super) const EMAIL: &str = "admin@example.com";
pub(super) const PASSWORD: &str = "a password for tests only";

/// What the processes of an installation are told.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    /// How long a lease lasts.
    pub lease: Duration,
    /// How many deployments may wait.
    pub backlog_limit: u32,
    /// How many deployments a worker runs at once.
    pub concurrency: u32,
}

/// Servers, folders and settings.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where records, locks and targets lie.
    pub folder: PathBuf,
    /// Where the processes' own logs go.
    pub logs: PathBuf,
    /// Between some processes and Redis.
    pub redis_proxy: Proxy,
    /// Between some processes and MariaDB.
    pub database_proxy: Proxy,
    redis: Arc<Mutex<RedisServer>>,
    database: Arc<Mutex<MariadbServer>>,
    redis_port: u16,
    variables: BTreeMap<String, String>,
}

impl Site {
    /// Starts the servers and brings the database to this version's schema.
    ///
    /// # Errors
    /// When a folder, a proxy or the schema cannot be made.
    pub(crate) async fn start(folder: &Path, tuning: &Tuning) -> anyhow::Result<Self> {
        for name in ["locks", "failed", "targets", "logs", "work"] {
            fs::create_dir_all(folder.join(name))
                .with_context(|| format!("making {}/{name}", folder.display()))?;
        }
        let servers = || (RedisServer::start(), MariadbServer::start());
        let (redis, database) = tokio::task::spawn_blocking(servers).await?;
        let (redis_port, database_port) = (redis.port(), database.port());
        let site = Self {
            variables: variables(folder, tuning, &redis, &database)?,
            folder: folder.to_owned(),
            logs: folder.join("logs"),
            redis_proxy: Proxy::start(redis_port).await?,
            database_proxy: Proxy::start(database_port).await?,
            redis: Arc::new(Mutex::new(redis)),
            database: Arc::new(Mutex::new(database)),
            redis_port,
        };
        let migrate = site.program("slipway", false).args(["migrate"]);
        let output = tokio::task::spawn_blocking(|| migrate.run()).await?;
        ensure!(output.status.success(), "slipway migrate: {output:?}");
        Ok(site)
    }

    /// A binary of the workspace with this installation's settings, directly at the servers or
    /// through the proxies.
    #[must_use]
    pub(crate) fn program(&self, name: &str, through_proxies: bool) -> Program {
        let program = Program::workspace(name)
            .envs(&self.variables)
            .folder(&self.folder);
        if !through_proxies {
            return program;
        }
        let port = |proxy: &Proxy| proxy.port().to_string();
        program
            .env("SLIPWAY__REDIS__PORT", port(&self.redis_proxy))
            .env("SLIPWAY__DATABASE__PORT", port(&self.database_proxy))
    }

    /// Does something to the Redis server that may take a while.
    ///
    /// # Errors
    /// When that panicked.
    pub(crate) async fn with_redis(
        &self,
        work: impl FnOnce(&mut RedisServer) + Send + 'static,
    ) -> anyhow::Result<()> {
        let redis = Arc::clone(&self.redis);
        Ok(tokio::task::spawn_blocking(move || work(&mut lock(&redis))).await?)
    }

    /// Does something to the database server that may take a while.
    ///
    /// # Errors
    /// When that panicked.
    pub(crate) async fn with_database(
        &self,
        work: impl FnOnce(&mut MariadbServer) + Send + 'static,
    ) -> anyhow::Result<()> {
        let database = Arc::clone(&self.database);
        Ok(tokio::task::spawn_blocking(move || work(&mut lock(&database))).await?)
    }

    /// Sends Redis one command and answers the first line of what it says.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn redis(&self, command: &str) -> anyhow::Result<String> {
        let answer = self.ask(command)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }

    fn ask(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis_port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .with_context(|| format!("Redis and `{command}`"))?;
        Ok(answer)
    }

    /// The keys of the index that hold deployments.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub(crate) fn index_entries(&self) -> anyhow::Result<Vec<String>> {
        let idle = ["epoch", "probe", "wake", "rebuild"];
        let answer = self.ask(&format!("KEYS {PREFIX}:*"))?;
        let keys = answer
            .lines()
            .filter_map(|line| line.strip_prefix(PREFIX)?.strip_prefix(':'));
        Ok(keys
            .filter(|name| !idle.contains(name))
            .map(str::to_owned)
            .collect())
    }
}

fn lock<T>(server: &Mutex<T>) -> MutexGuard<'_, T> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

fn variables(
    folder: &Path,
    tuning: &Tuning,
    redis: &RedisServer,
    database: &MariadbServer,
) -> anyhow::Result<BTreeMap<String, String>> {
    let section = |name: &str, pairs: &[(&str, String)]| -> Vec<(String, String)> {
        let key = |key: &str| format!("SLIPWAY__{name}__{key}");
        pairs
            .iter()
            .map(|(name, value)| (key(name), value.clone()))
            .collect()
    };
    let local = || "127.0.0.1".to_owned();
    let mut variables = BTreeMap::from([
        ("SLIPWAY_ADMIN_EMAIL".to_owned(), EMAIL.to_owned()),
        ("SLIPWAY_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()),
    ]);
    variables.extend(section("SERVER", &[("HOST", local())]));
    let account = [
        ("DIALECT", "mysql".to_owned()),
        ("HOST", local()),
        ("PORT", database.port().to_string()),
        ("USERNAME", MariadbServer::USER.to_owned()),
        ("PASSWORD", database.password().to_owned()),
        ("DATABASE", MariadbServer::DATABASE.to_owned()),
    ];
    variables.extend(section("DATABASE", &account));
    let index = [
        ("HOST", local()),
        ("PORT", redis.port().to_string()),
        ("TLS", "false".to_owned()),
        ("PREFIX", PREFIX.to_owned()),
    ];
    variables.extend(section("REDIS", &index));
    let keys = [
        ("ENCRYPTION_KEY", random_key()?),
        ("SESSION_SECRET", random_key()?),
    ];
    variables.extend(section("SECURITY", &keys));
    let queue = [
        ("LEASE_MS", tuning.lease.as_millis().to_string()),
        ("BACKLOG_LIMIT", tuning.backlog_limit.to_string()),
        ("MAX_CONCURRENCY", tuning.concurrency.to_string()),
        ("RETRY_DELAYS", "200,400".to_owned()),
    ];
    variables.extend(section("QUEUE", &queue));
    variables.extend(section("LOGGING", &[("FORMAT", "json".to_owned())]));
    let work = folder.join("work").display().to_string();
    variables.extend(section("WORKER", &[("DIR", work)]));
    Ok(variables)
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}
