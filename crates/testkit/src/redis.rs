//! A Redis process that belongs to one test, for tests that wipe, stop or freeze it.
//!
//! Speaks just enough of the protocol to see that the server answers.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::server::Server;

const START_DEADLINE: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A private Redis on loopback, without persistence, ended when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    // Before the folder, so that the server ends before its files go.
    server: Server,
    folder: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments, such as `--maxmemory 2mb`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let command = |port| command(&folder, &arguments, port);
        let started = Server::start(START_DEADLINE, answers, command);
        let server =
            started.unwrap_or_else(|| panic!("redis-server did not start: {}", log(&folder)));
        Self {
            server,
            folder,
            arguments,
        }
    }

    /// The port it listens on; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// Ends the server at once, as a crash would. Its data is gone.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on the same port, empty; stops it first where it still runs.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let (folder, arguments) = (&self.folder, &self.arguments);
        self.server.restart(|port| command(folder, arguments, port));
    }

    /// Stops it in its tracks: connections stay open, nothing is answered.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.server.child()), signal)
            .expect("an owned process takes signals");
    }
}

fn command(folder: &TempDir, arguments: &[String], port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--daemonize", "no", "--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction"])
        .args(["--logfile", "redis.log", "--dir"])
        .arg(folder.path())
        .args(arguments);
    command
}

fn log(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("redis.log")).unwrap_or_default()
}

/// Whether something on this port speaks Redis; a demand for a password counts.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(b"PING\r\n")?;
        let mut first = [0_u8];
        stream.read_exact(&mut first)?;
        let [byte] = first;
        Ok(byte)
    };
    matches!(ask(), Ok(b'+' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarted_server_answers_on_the_same_port() {
        let mut server = RedisServer::start();
        let url = server.url();
        server.stop();
        assert!(!answers(server.port()));
        server.restart();
        assert!(answers(server.port()));
        assert_eq!(server.url(), url);
    }

    #[test]
    fn frozen_server_stays_silent_until_thawed() {
        let server = RedisServer::start();
        server.freeze();
        assert!(!answers(server.port()));
        server.thaw();
        assert!(answers(server.port()));
    }

    #[test]
    fn dropped_server_is_gone() {
        let server = RedisServer::start_with(&["--requirepass", "guess"]);
        let port = server.port();
        assert!(answers(port));
        drop(server);
        assert!(!answers(port));
    }
}
