//! An installation with MySQL and Redis, set up by the repository's own production configuration.
//!
//! The file is used as it stands; what differs between machines comes from the environment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
};

use reqwest::Url;
use serde_json::Value;
use slipway_testkit::{
    Program, RedisServer, RunningProgram, TestDatabase, mysql_database, redis_tls,
};
use tempfile::TempDir;

use super::{Client, DEADLINE};

const EMAIL: &str = "admin@example.com";
const PASSWORD: &str = "a password for tests only";

/// Which Redis an installation uses.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    password: String,
    ca_file: Option<PathBuf>,
}

impl Redis {
    /// The one of this test run, with TLS and a password.
    pub(crate) fn shared() -> Self {
        let server = redis_tls();
        let url = Url::parse(&server.url).unwrap();
        Self {
            port: url.port().unwrap(),
            password: url.password().unwrap_or_default().to_owned(),
            ca_file: Some(server.ca_file),
        }
    }

    /// One that the test itself stops and starts.
    pub(crate) fn own(server: &RedisServer) -> Self {
        Self {
            port: server.port(),
            password: String::new(),
            ca_file: None,
        }
    }
}

/// A database, a folder and the environment of every process.
#[derive(Debug)]
pub(crate) struct Installation {
    variables: BTreeMap<String, String>,
    folder: TempDir,
    _database: TestDatabase,
}

/// A running API process.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) program: RunningProgram,
    pub(crate) address: String,
}

impl Installation {
    /// An installation whose database is still empty.
    pub(crate) fn new(redis: &Redis) -> Self {
        let database = mysql_database();
        let folder = tempfile::tempdir().unwrap();
        let account = database.account().unwrap();
        let name = database.name().unwrap().to_owned();
        let mut variables: BTreeMap<String, String> = [
            ("SLIPWAY_ENV", "production".to_owned()),
            ("DB_HOST", account.host.clone()),
            ("DB_USER", account.username.clone()),
            ("DB_PASSWORD", account.password.clone()),
            ("REDIS_HOST", "127.0.0.1".to_owned()),
            ("REDIS_PASSWORD", redis.password.clone()),
            ("ENCRYPTION_KEY", generated_key()),
            ("SESSION_SECRET", generated_key()),
            ("SLIPWAY_ADMIN_EMAIL", EMAIL.to_owned()),
            ("SLIPWAY_ADMIN_PASSWORD", PASSWORD.to_owned()),
            ("SLIPWAY__SERVER__HOST", "127.0.0.1".to_owned()),
            ("SLIPWAY__SERVER__PORT", "0".to_owned()),
            // The tests around it do not stand back, and have their deadlines.
            ("SLIPWAY__WORKER__NICE", "0".to_owned()),
            ("SLIPWAY__DATABASE__PORT", account.port.to_string()),
            ("SLIPWAY__REDIS__PORT", redis.port.to_string()),
            ("SLIPWAY__REDIS__PREFIX", format!("{{{name}}}")),
            ("SLIPWAY__DATABASE__DATABASE", name),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let worker = folder.path().join("worker").display().to_string();
        variables.insert("SLIPWAY__WORKER__DIR".to_owned(), worker);
        let (name, value) = match &redis.ca_file {
            Some(file) => ("SLIPWAY__REDIS__CA_FILE", file.display().to_string()),
            None => ("SLIPWAY__REDIS__TLS", "false".to_owned()),
        };
        variables.insert(name.to_owned(), value);
        Self {
            variables,
            folder,
            _database: database,
        }
    }

    /// An installation that is ready to start.
    pub(crate) fn migrated(redis: &Redis) -> Self {
        let installation = Self::new(redis);
        installation.migrate();
        installation
    }

    /// Sets one variable of every process that is started from now on.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Takes one variable away again.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// A binary with this installation's environment, in the repository's root.
    pub(crate) fn program(&self, name: &str) -> Program {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Program::workspace(name).envs(&self.variables).folder(root)
    }

    /// The environment of every process.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    pub(crate) fn migrate(&self) {
        let output = self.program("slipway").args(["migrate"]).run();
        assert!(output.status.success(), "{output:?}");
    }

    /// Runs one statement with the database's own client.
    pub(crate) fn sql(&self, statement: &str) -> Output {
        let option = |name: &str, variable: &str| format!("--{name}={}", self.variables[variable]);
        Program::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp"])
            .args([option("host", "DB_HOST"), option("user", "DB_USER")])
            .args([option("port", "SLIPWAY__DATABASE__PORT")])
            .args([option("database", "SLIPWAY__DATABASE__DATABASE")])
            .args(["--execute", statement])
            .env("MYSQL_PWD", &self.variables["DB_PASSWORD"])
            .run()
    }

    pub(crate) fn start_api(&self) -> Api {
        Api::serving(self.program("slipway-api").start())
    }

    /// Starts a worker and waits until it takes deployments.
    pub(crate) fn start_worker(&self) -> RunningProgram {
        let program = self.program("slipway-worker").start();
        let is_ready = |line: &str| line.contains("ready for deployments").then_some(());
        program.wait_for_line(DEADLINE, is_ready);
        program
    }

    /// Where tests and the steps that they run meet. Steps that wait do so only while it exists, so
    /// that none outlives its test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A pipeline of one step that knows the folder as `$PLACE`.
    pub(crate) fn pipeline(&self, script: &str) -> String {
        let place = self.folder().display();
        let script: String = script
            .lines()
            .map(|line| format!("      {line}\n"))
            .collect();
        format!("env:\n  PLACE: {place}\nafter:\n  - name: only\n    run: |\n{script}")
    }
}

impl Api {
    /// A started process, once it serves.
    pub(crate) fn serving(program: RunningProgram) -> Self {
        let address = program.wait_for_line(DEADLINE, |line| {
            let record: Value = serde_json::from_str(line).ok()?;
            let address = record["address"].as_str()?;
            Some(format!("http://{address}"))
        });
        Self { program, address }
    }

    /// Signs in as the first Admin.
    pub(crate) async fn client(&self) -> Client {
        Client::new(&self.address).sign_in(EMAIL, PASSWORD).await
    }
}

fn generated_key() -> String {
    let output = Program::workspace("slipway")
        .args(["keys", "generate"])
        .run();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
