//! A Redis process that belongs to one test, for tests that wipe, stop or freeze it.
//!
//! Speaks just enough of the protocol to see that the server answers.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{poll::eventually_blocking, services::free_port};

const START_DEADLINE: Duration = Duration::from_secs(20);
const START_ATTEMPTS: u32 = 5;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A private Redis on loopback, without persistence, ended when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
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
        let arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let mut server = Self {
            folder,
            arguments,
            port: 0,
            child: None,
        };
        for _ in 0..START_ATTEMPTS {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server did not start: {}", server.log());
    }

    /// The port it listens on; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server at once, as a crash would. Its data is gone.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("an owned process can be killed");
            child.wait().expect("a killed process ends");
        }
    }

    /// Starts it again on the same port, empty; stops it first where it still runs.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let port = self.port;
        // The port's former connections may take a moment to let go of it.
        eventually_blocking(START_DEADLINE, || self.launch().then_some(()).ok_or(port));
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
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("an owned process takes signals");
    }

    /// Whether the server came up; `false` when it ended instead, as it does on a taken port.
    fn launch(&mut self) -> bool {
        let mut child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--daemonize", "no", "--save", "", "--appendonly", "no"])
            .args([
                "--maxmemory-policy",
                "noeviction",
                "--logfile",
                "redis.log",
                "--dir",
            ])
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let up = eventually_blocking(START_DEADLINE, || {
            if child
                .try_wait()
                .expect("an owned process can be asked")
                .is_some()
            {
                return Ok(false);
            }
            if answers(self.port) {
                Ok(true)
            } else {
                Err("redis-server does not answer")
            }
        });
        if up {
            self.child = Some(child);
        }
        up
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
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
