//! One running command: its process group, its end, its removal.
//!
//! Everything started from here carries a random mark in its environment, by which processes
//! that left the group are found again.

use std::{
    os::fd::OwnedFd,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::unix::pipe::Receiver,
    process::Child,
    time::Instant,
};

use super::{
    Command, Outcome,
    sweep::{self, Mark},
};
use crate::guard::Watched;

/// How often a group that was asked to end is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a killed process may take to disappear before we stop waiting for it.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

/// A started command. Dropping it before its end kills everything it has started.
pub(super) struct Running {
    child: Child,
    group: Pid,
    /// Becomes readable when the leader ends, and does not reap it: as long as it is not reaped,
    /// its id, which is also the group's, cannot be given to another process.
    ended: AsyncFd<OwnedFd>,
    mark: Mark,
    reaped: bool,
    /// The last to be dropped: until then the guard kills what is left.
    _watched: Watched,
}

/// Starts a command that the guard knows by this mark, with one pipe for both of its output streams.
pub(super) fn start(
    command: &Command,
    mark: Mark,
    watched: Watched,
) -> Result<(Running, Receiver), String> {
    if let Some(dir) = command.working_dir().filter(|dir| !dir.is_dir()) {
        return Err(format!(
            "the working directory {} does not exist",
            dir.display()
        ));
    }
    let failed = |error: std::io::Error| {
        format!(
            "cannot start {}: {error}",
            command.program().to_string_lossy()
        )
    };
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let mut prepared = command.to_std();
    prepared
        .env(sweep::MARK_NAME, mark.value())
        .process_group(0)
        .stdin(Stdio::null());
    if command.discards_errors() {
        prepared.stderr(Stdio::null());
    } else {
        prepared.stderr(writer.try_clone().map_err(failed)?);
    }
    prepared.stdout(writer);
    let reader = Receiver::from_owned_fd(reader.into()).map_err(failed)?;

    let mut prepared = tokio::process::Command::from(prepared);
    let child = prepared.kill_on_drop(true).spawn().map_err(failed)?;
    // Our own ends of the pipe must go, or its end is never seen.
    drop(prepared);
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(id.cast_signed()))
        .ok_or_else(|| "the new process has no id".to_owned())?;
    watched.started(group);
    match watch_end(group) {
        Ok(ended) => Ok((
            Running {
                child,
                group,
                ended,
                mark,
                reaped: false,
                _watched: watched,
            },
            reader,
        )),
        Err(error) => {
            let _already_gone = rustix::process::kill_process_group(group, Signal::KILL);
            Err(failed(error))
        }
    }
}

#[expect(
    deprecated,
    reason = "sound for a descriptor that we own; its successor is unsafe code"
)]
fn watch_end(leader: Pid) -> std::io::Result<AsyncFd<OwnedFd>> {
    let handle = rustix::process::pidfd_open(leader, PidfdFlags::empty())?;
    AsyncFd::with_interest(handle, Interest::READABLE)
}

impl Running {
    /// Waits until the leader has ended, without reaping it.
    pub(super) async fn exited(&self) {
        // An error here means that the runtime shuts down; then the drop does the rest.
        if self.ended.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Kills what is left of the group.
    pub(super) fn kill_group(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks the group to end, waits `grace`, then kills it and whatever has left it.
    pub(super) async fn terminate(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline && self.group_is_alive().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.signal(Signal::KILL);
        self.mark.clear().await;
        self.reap().await;
    }

    /// Takes the leader's result from the system.
    pub(super) async fn reap(&mut self) -> Outcome {
        let waited = tokio::time::timeout(REAP_TIMEOUT, self.child.wait()).await;
        let Ok(Ok(status)) = waited else {
            return Outcome::Signalled(Signal::KILL.as_raw());
        };
        self.reaped = true;
        match (status.code(), status.signal()) {
            (Some(code), _) => Outcome::Exited(code),
            (None, signal) => Outcome::Signalled(signal.unwrap_or_default()),
        }
    }

    async fn group_is_alive(&self) -> bool {
        let group = self.group;
        let looked = tokio::task::spawn_blocking(move || sweep::group_is_alive(group)).await;
        looked.unwrap_or(false)
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _already_gone = rustix::process::kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill_group();
            self.mark.clear_now();
        }
    }
}
