//! Starts the guard, sees to it that it answers, and replaces it when it does not.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
    process::{Pid, Signal, kill_process},
};

use super::{Message, Presence, Program, Shared};

/// Longest wait for a guard's first word.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Wait before another try to start one.
const PAUSE: Duration = Duration::from_millis(100);

/// The way to a guard that has said that it listens.
#[derive(Debug)]
pub(super) struct Link {
    pipe: PipeWriter,
    guard: Pid,
    broken: bool,
}

impl Link {
    pub(super) fn id(&self) -> i32 {
        self.guard.as_raw_nonzero().get()
    }

    /// Tells the guard something without ever waiting for it. One that takes in nothing any more is
    /// killed, not hung up on: it would take that for the worker's end. False when it is lost.
    pub(super) fn tell(&mut self, message: &Message) -> bool {
        if self.broken {
            return false;
        }
        let line = message.to_string();
        // So short a line goes into the pipe as a whole or not at all.
        self.broken = loop {
            match self.pipe.write(line.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome.ok() != Some(line.len()),
            }
        };
        if self.broken {
            // It is not reaped before this link is taken away, so the id is still its own.
            let _already_gone = kill_process(self.guard, Signal::KILL);
        }
        !self.broken
    }
}

/// A guard process, and what it answers.
struct Process {
    child: Child,
    answers: PipeReader,
}

struct Supervisor {
    shared: Arc<Shared>,
    program: Program,
    lock: Option<PathBuf>,
}

/// Starts the first guard, and the thread that looks after it.
pub(super) fn start(
    shared: &Arc<Shared>,
    program: Program,
    lock: Option<&Path>,
) -> anyhow::Result<()> {
    let supervisor = Supervisor {
        shared: Arc::clone(shared),
        program,
        lock: lock.map(Path::to_owned),
    };
    let first = supervisor.start_guard().context("starting the guard")?;
    thread::Builder::new()
        .name("guard".to_owned())
        .spawn(move || supervisor.run(first))
        .context("starting the thread that looks after the guard")?;
    Ok(())
}

impl Supervisor {
    fn run(&self, first: Process) {
        let mut guard = Some(first);
        let mut lost = Instant::now();
        loop {
            if let Some(process) = guard.take() {
                self.stay_with(process);
                lost = Instant::now();
                if self.shared.lock().stopped {
                    return;
                }
                tracing::error!("the guard was lost and is replaced");
            }
            match self.start_guard() {
                Ok(process) => guard = Some(process),
                Err(error) => {
                    tracing::error!(error = %error, "the guard does not start");
                    if lost.elapsed() > self.shared.lease / 3 {
                        self.shared.presence.send_replace(Presence::Missing);
                    }
                    thread::sleep(PAUSE);
                }
            }
            if self.shared.lock().stopped {
                // Its pipe is closed with the state; it ends by itself.
                if let Some(process) = guard {
                    self.stay_with(process);
                }
                return;
            }
        }
    }

    /// Starts a guard, tells it everything, and lets others talk to it.
    fn start_guard(&self) -> io::Result<Process> {
        let (input, mut pipe) = io::pipe()?;
        let (answers, output) = io::pipe()?;
        let mut command = Command::new(&self.program.path);
        command
            .args(&self.program.arguments)
            .arg(self.shared.lease.as_millis().to_string())
            .arg(self.lock.as_deref().unwrap_or_else(|| Path::new("")))
            .arg0("slipway-guard")
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(input))
            .stdout(Stdio::from(OwnedFd::from(output)));
        let child = command.spawn()?;
        // Our copies of the guard's ends must go, or its end is never seen.
        drop(command);
        let mut process = Process { child, answers };
        match process.hear(START_TIMEOUT) {
            Ok(Heard::Answer) => {}
            Ok(Heard::Nothing | Heard::End) => {
                process.end();
                return Err(io::Error::other("it said nothing"));
            }
            Err(error) => {
                process.end();
                return Err(error);
            }
        }
        let guard = Pid::from_child(&process.child);
        let mut state = self.shared.lock();
        let told = Shared::everything(&state)
            .iter()
            .try_for_each(|message| pipe.write_all(message.to_string().as_bytes()))
            .and_then(|()| Ok(ioctl_fionbio(&pipe, true)?));
        if let Err(error) = told {
            process.end();
            return Err(error);
        }
        if !state.stopped {
            state.link = Some(Link {
                pipe,
                guard,
                broken: false,
            });
            self.shared.presence.send_replace(Presence::Here);
        }
        drop(state);
        Ok(process)
    }

    /// Returns when the guard is dead.
    fn stay_with(&self, mut process: Process) {
        let patience = (self.shared.lease / 3).max(Duration::from_secs(1));
        let mut asked = false;
        loop {
            match process.hear(patience) {
                Ok(Heard::Answer) => asked = false,
                Ok(Heard::Nothing) if !asked => {
                    asked = true;
                    let mut state = self.shared.lock();
                    self.shared.tell(&mut state, &Message::Ping);
                }
                Ok(Heard::Nothing | Heard::End) | Err(_) => break,
            }
        }
        let mut state = self.shared.lock();
        if state.stopped {
            // It has been told by the end of its pipe, and finishes what it has to do.
            drop(state);
            let _reaped = process.child.wait();
            return;
        }
        self.shared.presence.send_replace(Presence::Away);
        // Dead before its pipe is closed: it would take that for the worker's end.
        process.end();
        state.link = None;
    }
}

/// What a guard has said within some time.
enum Heard {
    Answer,
    Nothing,
    End,
}

impl Process {
    fn hear(&mut self, patience: Duration) -> io::Result<Heard> {
        let wait = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut fds = [PollFd::from_borrowed_fd(
            self.answers.as_fd(),
            PollFlags::IN,
        )];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) => return Ok(Heard::Nothing),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Heard::Answer),
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0_u8; 64];
        Ok(match self.answers.read(&mut buffer)? {
            0 => Heard::End,
            _ => Heard::Answer,
        })
    }

    fn end(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
