//! A server process that belongs to one test: started on a free port, killed when it is dropped.
//!
//! Which program it is, and how one sees that it answers, its owners know.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{poll::eventually_blocking, services::free_port};

const START_ATTEMPTS: u32 = 5;

/// One such process.
#[derive(Debug)]
pub(crate) struct Server {
    deadline: Duration,
    answers: fn(u16) -> bool,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts what `command` makes of a port, on another port if somebody else takes the first one
    /// in between, and waits until it answers. Nothing when it never came up.
    pub(crate) fn start(
        deadline: Duration,
        answers: fn(u16) -> bool,
        command: impl Fn(u16) -> Command,
    ) -> Option<Self> {
        let mut server = Self {
            deadline,
            answers,
            port: 0,
            child: None,
        };
        for _ in 0..START_ATTEMPTS {
            server.port = free_port();
            if server.launch(command(server.port)) {
                return Some(server);
            }
        }
        None
    }

    /// The port it listens on; the same after a restart.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    pub(crate) fn child(&self) -> &Child {
        self.child.as_ref().expect("the server runs")
    }

    /// Kills it, as a crash would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("an owned process can be killed");
            child.wait().expect("a killed process ends");
        }
    }

    /// Starts it again on the same port; stops it first where it still runs.
    pub(crate) fn restart(&mut self, command: impl Fn(u16) -> Command) {
        self.stop();
        let port = self.port;
        // The port's former connections may take a moment to let go of it.
        eventually_blocking(self.deadline, || {
            self.launch(command(port)).then_some(()).ok_or(port)
        });
    }

    /// Whether it came up; `false` when it ended instead, as it does on a taken port.
    fn launch(&mut self, mut command: Command) -> bool {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let up = eventually_blocking(self.deadline, || {
            let ended = child.try_wait().expect("an owned process can be asked");
            if ended.is_some() {
                return Ok(false);
            }
            if (self.answers)(self.port) {
                Ok(true)
            } else {
                Err("the server does not answer")
            }
        });
        if up {
            self.child = Some(child);
        }
        up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
