//! Configuration: one struct a section, as in the annotated `config/default.yaml`.
//!
//! Reading them is `load`'s work and ranges are `check`'s; nothing else in the workspace reads the
//! environment.

mod check;
mod convert;
pub mod destination;
mod expand;
mod layer;
pub mod load;
pub mod network;
pub mod problem;
mod schema;
mod suggest;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use crate::access::SystemRole;

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// The database.
    pub database: Database,
    /// The dispatch index; without it only `slipway up` starts.
    pub redis: Option<Redis>,
    /// How mail is sent; without it none is.
    pub smtp: Option<Smtp>,
    /// People who sign in at an identity provider.
    pub oidc: Option<Oidc>,
    /// Keys.
    pub security: Security,
    /// The queue.
    pub queue: Queue,
    /// The audit trail.
    pub audit: Audit,
    /// Messages to people and other systems.
    pub notifications: Notifications,
    /// This process's own log.
    pub logging: Logging,
    /// What belongs to worker processes.
    pub worker: Worker,
    /// Where commits may come from.
    pub repositories: Repositories,
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// The address people use, for links, and to know whether cookies are for TLS only.
    pub public_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed; none by default.
    pub trusted_proxies: Vec<String>,
}

/// Which database, and how to reach it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `mysql` (MariaDB too) or `sqlite`.
    pub dialect: Dialect,
    /// SQLite: the file.
    pub path: Option<PathBuf>,
    /// MySQL: host name or address.
    pub host: Option<String>,
    /// MySQL: port.
    pub port: u16,
    /// MySQL: account.
    pub username: Option<String>,
    /// MySQL: the account's password.
    pub password: Option<SecretString>,
    /// MySQL: a file that holds it instead.
    pub password_file: Option<PathBuf>,
    /// MySQL: the database's name.
    pub database: Option<String>,
    /// MySQL: whether the connection must be encrypted.
    pub tls: DatabaseTls,
    /// MySQL: PEM file of the authority that signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// Most connections of this process.
    pub max_connections: u32,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Dialect {
    /// MySQL 8 or MariaDB 10.6 and later.
    Mysql,
    /// SQLite, embedded.
    Sqlite,
}

/// How much a database connection insists on TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DatabaseTls {
    /// Never.
    Off,
    /// If the server offers it; the certificate is not checked.
    Prefer,
    /// Always, and the certificate is checked.
    Require,
}

/// How to reach Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Account, where access lists are in use.
    pub username: Option<String>,
    /// Password; empty means none.
    pub password: Option<SecretString>,
    /// A file that holds it instead.
    pub password_file: Option<PathBuf>,
    /// Whether to use TLS.
    pub tls: bool,
    /// PEM file of the authority that signed the server's certificate; the system's otherwise.
    pub ca_file: Option<PathBuf>,
    /// Numbered database.
    pub database: u8,
    /// First part of every key; it makes one hash slot.
    pub prefix: String,
}

/// The server that takes our mail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// Account.
    pub username: Option<String>,
    /// The account's password.
    pub password: Option<SecretString>,
    /// The address that mail comes from.
    pub from: String,
}

/// How a mail connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SmtpTls {
    /// Not at all.
    Off,
    /// From the first byte on.
    On,
    /// After a greeting in plain text; never without.
    Starttls,
}

/// The identity provider (`OpenID` Connect).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Its address, exactly as it calls itself.
    pub issuer: Option<String>,
    /// The name that it knows us by.
    pub client_id: Option<String>,
    /// What proves that we are it.
    pub client_secret: Option<SecretString>,
    /// A file that holds it instead.
    pub client_secret_file: Option<PathBuf>,
    /// What the button says.
    pub name: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that lists somebody's groups.
    pub groups_claim: String,
    /// Groups whose members are Admins.
    pub admin_groups: Vec<String>,
    /// Groups whose members are Managers.
    pub manager_groups: Vec<String>,
    /// Groups whose members are Developers.
    pub developer_groups: Vec<String>,
    /// Groups whose members are Viewers.
    pub viewer_groups: Vec<String>,
    /// The role of whoever is in none of them; none keeps them out.
    pub default_role: Option<SystemRole>,
    /// Whether an account with the same verified address is taken for theirs.
    pub link_by_email: bool,
    /// Who may still sign in with a password.
    pub local_sign_in: LocalSignIn,
}

/// Who may sign in with a password besides the identity provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LocalSignIn {
    /// Whoever has one.
    Everybody,
    /// Admins, so that somebody can look after Slipway while the provider is away.
    AdminsOnly,
}

/// Keys and who may use them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// A master key, 64 hex characters; the active one in a new database.
    pub encryption_key: Option<SecretString>,
    /// A file that holds it instead.
    pub encryption_key_file: Option<PathBuf>,
    /// That key's version.
    pub encryption_key_version: i32,
    /// Other master keys by version.
    pub retired_keys: BTreeMap<String, SecretString>,
    /// A folder with more of them, in files named `encryption_key_<version>`.
    pub keys_dir: Option<PathBuf>,
    /// Keys form tokens and list cursors, 32 characters or more.
    pub session_secret: Option<SecretString>,
    /// A file that holds it instead.
    pub session_secret_file: Option<PathBuf>,
    /// Who must have a second factor.
    pub require_second_factor: RequiredFactor,
}

/// Which accounts with a password must have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum RequiredFactor {
    /// None of them.
    None,
    /// Those of Admins.
    Admins,
    /// All of them.
    All,
}

/// The queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Deployments that one worker runs at once.
    pub max_concurrency: u32,
    /// Deployments that run at once everywhere.
    pub max_running: u32,
    /// Most times a deployment is run in all.
    pub retry_attempts: u32,
    /// Waits after the first, second, ... failure, in milliseconds; the last one repeats.
    pub retry_delays: Vec<u64>,
    /// Most deployments that may wait.
    pub backlog_limit: u32,
    /// How long a lease lasts without renewal, in milliseconds. Renewal, self-fencing and
    /// recovery keep fixed ratios to it.
    pub lease_ms: u64,
}

impl Queue {
    /// The greatest limit of the backlog that can be configured.
    pub const BACKLOG_LIMIT_MAX: u32 = 1_000_000;

    /// How long a lease lasts.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// The audit trail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Days that entries are kept; 0 keeps them for ever.
    pub retention_days: u32,
}

/// Messages to people and other systems.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notifications {
    /// Days that sent messages are kept; 0 keeps them for ever.
    pub retention_days: u32,
    /// Time in which repetitions of the same are told with one message, in seconds; 0 tells each.
    pub fold_seconds: u64,
    /// Time after which a waiting deployment is told of, in seconds; 0 never tells.
    pub stuck_after_seconds: u64,
    /// Days after which the active master key should be replaced; 0 never tells.
    pub key_rotation_due_days: u32,
    /// Messages that one worker sends at once.
    pub send_concurrency: u32,
    /// Where they may go besides the public internet: networks, and hosts with a port.
    pub allow: Vec<String>,
    /// PEM file of an authority that is trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// This process's own log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,slipway_worker=debug`.
    pub level: String,
    /// Whether values of known secret names are masked in this process's own log.
    pub redact_secrets: bool,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What belongs to worker processes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Folder for checkouts and mirrors.
    pub dir: PathBuf,
    /// Free labels, shown beside the worker.
    pub labels: Vec<String>,
    /// How long running deployments may go on after SIGTERM, in seconds.
    pub drain_timeout_seconds: u64,
    /// Most bytes of output that one run of a deployment may store.
    pub log_limit_bytes: u64,
    /// How far a worker process and what it runs stand back for others on its machine.
    pub nice: u8,
}

/// Where commits may come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repositories {
    /// Folders below which a local path is accepted as a repository; none by default.
    pub local_paths: Vec<PathBuf>,
}

/// A setting that is one of a few words, with a message that lists them.
macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(word: String) -> Result<Self, Self::Error> {
                match word.as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(Dialect { "mysql" => Mysql, "sqlite" => Sqlite });
words!(DatabaseTls { "off" => Off, "prefer" => Prefer, "require" => Require });
words!(SmtpTls { "off" => Off, "on" => On, "starttls" => Starttls });
words!(LocalSignIn { "everybody" => Everybody, "admins_only" => AdminsOnly });
words!(RequiredFactor { "none" => None, "admins" => Admins, "all" => All });
words!(LogFormat { "text" => Text, "json" => Json });
