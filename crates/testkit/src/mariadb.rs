//! A MariaDB process that belongs to one test, for tests that kill or stop it.
//!
//! What was committed survives its own death, but not the machine's.

use std::{
    fs,
    io::Read as _,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{poll::eventually_blocking, services::free_port};

const START_DEADLINE: Duration = Duration::from_secs(60);
const START_ATTEMPTS: u32 = 5;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const USER: &str = "slipway";

/// A private MariaDB on loopback with one empty database, ended when it is dropped.
#[derive(Debug)]
pub struct MariadbServer {
    folder: TempDir,
    password: String,
    port: u16,
    child: Option<Child>,
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
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        let mut server = Self {
            folder,
            password: hex::encode(bytes),
            port: 0,
            child: None,
        };
        server.prepare();
        for _ in 0..START_ATTEMPTS {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("mariadbd did not start: {}", server.log());
    }

    /// The port it listens on; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of its account.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Kills the server, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("an owned process can be killed");
            child.wait().expect("a killed process ends");
        }
    }

    /// Starts it again on the same port, with what was committed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let port = self.port;
        eventually_blocking(START_DEADLINE, || self.launch().then_some(()).ok_or(port));
    }

    fn prepare(&self) {
        let me = rustix::process::geteuid().is_root();
        let user = if me { "root".to_owned() } else { whoami() };
        let output = Command::new("mariadb-install-db")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.path("data")))
            .args([format!("--user={user}"), "--skip-test-db".to_owned()])
            .args(["--auth-root-authentication-method=socket"])
            .arg(format!("--auth-root-socket-user={user}"))
            .stdin(Stdio::null())
            .output()
            .expect("mariadb-server is installed");
        assert!(output.status.success(), "mariadb-install-db: {output:?}");
        let (name, password) = (Self::DATABASE, &self.password);
        let account = format!("'{USER}'@'127.0.0.1'");
        // The server's default compares text without case; Slipway's names and keys are exact.
        let statements = [
            format!(
                "CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"
            ),
            format!("CREATE OR REPLACE USER {account} IDENTIFIED BY '{password}';"),
            format!("GRANT ALL ON *.* TO {account} WITH GRANT OPTION;"),
        ];
        fs::write(self.path("init.sql"), statements.join("\n") + "\n")
            .expect("the folder takes files");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Whether the server came up; `false` when it ended instead, as it does on a taken port.
    fn launch(&mut self) -> bool {
        let user = rustix::process::geteuid()
            .is_root()
            .then_some("--user=root");
        let mut child = Command::new("mariadbd")
            .arg("--no-defaults")
            .args(user)
            .arg(format!("--datadir={}", self.path("data")))
            .arg(format!("--socket={}", self.path("socket")))
            .arg(format!("--pid-file={}", self.path("pid")))
            .arg(format!("--init-file={}", self.path("init.sql")))
            .arg(format!("--log-error={}", self.path("log")))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
            // Written at each commit, so that a killed server loses nothing, but not forced to disk.
            .args(["--innodb-flush-log-at-trx-commit=2"])
            .args(["--character-set-server=utf8mb4", "--max-connections=500"])
            .args(["--innodb-buffer-pool-size=256M"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mariadb-server is installed");
        let up = eventually_blocking(START_DEADLINE, || {
            let ended = child.try_wait().expect("an owned process can be asked");
            if ended.is_some() {
                return Ok(false);
            }
            if greets(self.port) {
                Ok(true)
            } else {
                Err("mariadbd does not answer")
            }
        });
        if up {
            self.child = Some(child);
        }
        up
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for MariadbServer {
    fn drop(&mut self) {
        self.stop();
    }
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
