//! Runs one command on this machine and leaves nothing of it behind.
//!
//! A command is a value, built without side effects and printable without its secrets. Running
//! it is the only place in the workspace where a process is started. What the output means is
//! the sink's business, and nothing here goes through a shell unless the command is one.

mod command;
mod output;
mod process;
pub(crate) mod sweep;

use std::{pin::pin, time::Duration};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

pub use command::Command;
pub use output::{Captured, Sink};

use crate::guard;
use output::{Pump, alongside};
use sweep::Mark;

/// How long a command may take, and how patiently it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest run in all.
    pub timeout: Duration,
    /// Longest silence; `None` lets a command be silent for its whole run.
    pub idle_timeout: Option<Duration>,
    /// Time between the request to end and the kill.
    pub kill_grace: Duration,
    /// How long output is still read after the command has ended, when something holds its pipe.
    pub drain_grace: Duration,
}

impl Limits {
    /// Limits with the usual patience: ten seconds to end, one second for late output.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            idle_timeout: None,
            kill_grace: Duration::from_secs(10),
            drain_grace: Duration::from_secs(1),
        }
    }
}

/// What a command is part of: who may stop it, and the run that the guard ends when nobody else can.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Stops it.
    pub cancel: CancellationToken,
    /// The run that it belongs to.
    pub run: guard::Run,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Stopped: it took longer than allowed.
    TimedOut,
    /// Stopped: it printed nothing for too long.
    IdleTimedOut,
    /// Stopped because the caller asked for it, or the guard because its run is not ours any more.
    Cancelled,
    /// It never ran, for this reason.
    NotStarted(String),
}

/// Runs `command` and hands its output to `sink`.
///
/// Standard output and standard error share one pipe, so the sink sees them in the order they
/// were written. When the command has ended by itself, what is left of its process group is
/// killed; a process that has to outlive it starts its own session. When it is stopped, by its
/// scope, by a limit or because this future is dropped, those sessions end too.
///
/// It waits for the guard: nothing is started that nobody would end.
///
/// The time in which `sink` makes the command wait does not count as silence.
pub async fn run(
    command: &Command,
    limits: &Limits,
    scope: &Scope,
    sink: &mut impl Sink,
) -> Outcome {
    let Scope { cancel, run } = scope;
    let mark = match Mark::random() {
        Ok(mark) => mark,
        Err(error) => return Outcome::NotStarted(error.to_string()),
    };
    let mut deadline = pin!(tokio::time::sleep(limits.timeout));
    let watched = tokio::select! {
        biased;
        () = cancel.cancelled() => return Outcome::Cancelled,
        watched = run.begin(mark.value()) => watched,
        () = &mut deadline => return Outcome::TimedOut,
    };
    if run.is_over() {
        return Outcome::Cancelled;
    }
    let (mut running, reader) = match process::start(command, mark, watched) {
        Ok(started) => started,
        Err(reason) => return Outcome::NotStarted(reason),
    };
    let silent = CancellationToken::new();
    let over = CancellationToken::new();
    let pump = Pump {
        reader,
        silent: silent.clone(),
        over: over.clone(),
        limits: *limits,
    };
    let mut pump = pin!(pump.run(sink).fuse());

    let stopped = tokio::select! {
        () = cancel.cancelled() => Outcome::Cancelled,
        () = &mut deadline => Outcome::TimedOut,
        () = silent.cancelled() => Outcome::IdleTimedOut,
        () = alongside(pump.as_mut(), running.exited()) => {
            running.kill_group();
            over.cancel();
            // The command is over, but a sink that never returns must not keep us here.
            tokio::select! {
                () = &mut pump => {}
                () = cancel.cancelled() => {}
                () = &mut deadline => {}
            }
            let outcome = running.reap().await;
            // The guard may have ended it, and then this is not the command's own failure.
            return if run.is_over() && outcome != Outcome::Exited(0) { Outcome::Cancelled } else { outcome };
        }
    };
    alongside(pump.as_mut(), running.terminate(limits.kill_grace)).await;
    over.cancel();
    // What was written before the end is still worth reading, if the sink takes it.
    let _late_output = tokio::time::timeout(limits.drain_grace, &mut pump).await;
    stopped
}

#[cfg(test)]
mod tests;
