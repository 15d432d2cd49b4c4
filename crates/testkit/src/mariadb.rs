//! A MariaDB process that belongs to one test, for tests that kill or stop it.
//!
//! What was committed survives its own death, but not the machine's.

use std::{
    fs,
    io::Read as _,
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::server::Server;

const START_DEADLINE: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const USER: &str = "slipway";

/// A private MariaDB on loopback with one empty database, ended when it is dropped.
#[derive(Debug)]
pub struct MariadbServer {
    // Before the folder, so that the server ends before its files go.
    server: Server,
    folder: TempDir,
    password: String,
    /// What it says that it is.
    version: Option<&'static str>,
}

impl MariadbServer {
    /// The name of its database.
    pub const DATABASE: &'static str = "slipway";
    /// The name of its account.
    pub const USER: &'static str = USER;

    /// Prepares a server, starts it and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(None)
    }

    /// The same for one that says it is MySQL, so that nobody sends it what only MariaDB takes.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_as_mysql() -> Self {
        Self::start_as(Some("8.0.36"))
    }

    fn start_as(version: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        let password = hex::encode(bytes);
        prepare(&folder, &password);
        let started = Server::start(START_DEADLINE, greets, |port| {
            command(&folder, port, version)
        });
        let server = started.unwrap_or_else(|| panic!("mariadbd did not start: {}", log(&folder)));
        Self {
            server,
            folder,
            password,
            version,
        }
    }

    /// The port it listens on; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The password of its account.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Kills the server, as a crash would.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on the same port, with what was committed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let (folder, version) = (&self.folder, self.version);
        self.server.restart(|port| command(folder, port, version));
    }
}

fn prepare(folder: &TempDir, password: &str) {
    let me = rustix::process::geteuid().is_root();
    let user = if me { "root".to_owned() } else { whoami() };
    let output = Command::new("mariadb-install-db")
        .arg("--no-defaults")
        .arg(format!("--datadir={}", path(folder, "data")))
        .args([format!("--user={user}"), "--skip-test-db".to_owned()])
        .args(["--auth-root-authentication-method=socket"])
        .arg(format!("--auth-root-socket-user={user}"))
        .stdin(Stdio::null())
        .output()
        .expect("mariadb-server is installed");
    assert!(output.status.success(), "mariadb-install-db: {output:?}");
    let name = MariadbServer::DATABASE;
    let account = format!("'{USER}'@'127.0.0.1'");
    // The server's default compares text without case; Slipway's names and keys are exact.
    let statements = [
        format!("CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"),
        format!("CREATE OR REPLACE USER {account} IDENTIFIED BY '{password}';"),
        format!("GRANT ALL ON *.* TO {account} WITH GRANT OPTION;"),
    ];
    fs::write(path(folder, "init.sql"), statements.join("\n") + "\n")
        .expect("the folder takes files");
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn command(folder: &TempDir, port: u16, version: Option<&str>) -> Command {
    let user = rustix::process::geteuid()
        .is_root()
        .then_some("--user=root");
    let mut command = Command::new("mariadbd");
    command
        .arg("--no-defaults")
        .args(user)
        .arg(format!("--datadir={}", path(folder, "data")))
        .arg(format!("--socket={}", path(folder, "socket")))
        .arg(format!("--pid-file={}", path(folder, "pid")))
        .arg(format!("--init-file={}", path(folder, "init.sql")))
        .arg(format!("--log-error={}", path(folder, "log")))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        // Written at each commit, so that a killed server loses nothing, but not forced to disk.
        .args(["--innodb-flush-log-at-trx-commit=2"])
        .args(["--character-set-server=utf8mb4", "--max-connections=500"])
        .args(["--innodb-buffer-pool-size=256M"])
        .args(version.map(|version| format!("--version={version}")));
    command
}

fn log(folder: &TempDir) -> String {
    fs::read_to_string(path(folder, "log")).unwrap_or_default()
}

fn whoami() -> String {
    let output = Command::new("id").arg("-un").output();
    let output = output.expect("every system has `id`").stdout;
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// Whether something on this port sends a server's greeting, which comes once it takes clients.
fn greets(port: u16) -> bool {
    let ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.read_exact(&mut [0_u8; 5])
    };
    ask().is_ok()
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Database};

    use super::*;

    #[tokio::test]
    async fn killed_server_comes_back_with_what_was_committed() {
        let mut server = MariadbServer::start();
        let url = format!(
            "mysql://{}:{}@127.0.0.1:{}/{}",
            MariadbServer::USER,
            server.password(),
            server.port(),
            MariadbServer::DATABASE
        );
        let connection = Database::connect(&url).await.unwrap();
        for statement in ["CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)"] {
            connection.execute_unprepared(statement).await.unwrap();
        }
        server.stop();
        assert!(!greets(server.port()));
        server.restart();
        let connection = Database::connect(&url).await.unwrap();
        let again = connection.execute_unprepared("UPDATE t SET n = 2").await;
        assert_eq!(again.unwrap().rows_affected(), 1);
    }
}
