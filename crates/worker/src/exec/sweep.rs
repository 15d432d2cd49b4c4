//! Finds processes by reading `/proc`, for what process groups cannot do.
//!
//! A process leaves its group by starting a session, but keeps the environment it was started
//! with. One that also replaces its environment is not found; such a process hides on purpose,
//! and keeping those in needs a container, not a sweep.

use std::{fs, io, thread, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal};

/// The environment variable that marks everything one command has started.
pub(super) const MARK_NAME: &str = "SLIPWAY_RUN";

/// How often a sweep looks again before it gives up on something that forks faster than it dies.
const ROUNDS_MAX: u32 = 200;

/// Between rounds, so that killed processes can go.
const ROUND_PAUSE: Duration = Duration::from_millis(5);

/// The random value that tells one run from every other.
#[derive(Clone)]
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }

    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Kills every marked process, off the runtime's own threads.
    pub(super) async fn clear(&self) {
        let mark = self.clone();
        // It cannot be cancelled and does not panic; an error only means that we are shutting down.
        let _shutting_down = tokio::task::spawn_blocking(move || mark.clear_now()).await;
    }

    /// Kills every marked process.
    ///
    /// Two empty rounds are asked for: a process in the middle of `exec` has no environment to read.
    pub(super) fn clear_now(&self) {
        let mut empty_rounds = 0;
        for _ in 0..ROUNDS_MAX {
            empty_rounds = if self.kill_all() == 0 {
                empty_rounds + 1
            } else {
                0
            };
            if empty_rounds == 2 {
                return;
            }
            thread::sleep(ROUND_PAUSE);
        }
        tracing::warn!(
            rounds = ROUNDS_MAX,
            "processes of a stopped command are still alive"
        );
    }

    fn kill_all(&self) -> usize {
        process_ids()
            .filter(|&pid| self.kill_if_marked(pid))
            .count()
    }

    /// The handle is taken before the environment is read, so the signal cannot reach a process
    /// that got the same id in between.
    fn kill_if_marked(&self, pid: Pid) -> bool {
        let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else {
            return false;
        };
        let entry = format!("{MARK_NAME}={}", self.0);
        if !environment
            .split(|&byte| byte == 0)
            .any(|line| line == entry.as_bytes())
        {
            return false;
        }
        rustix::process::pidfd_send_signal(handle, Signal::KILL).is_ok()
    }
}

/// Whether a process group has a member that still runs.
///
/// Asking the kernel with signal 0 would count a leader that ended but was not reaped.
pub(super) fn group_is_alive(group: Pid) -> bool {
    let group = group.as_raw_nonzero().get().to_string();
    process_ids().any(|pid| runs_in(pid, &group).unwrap_or(false))
}

fn runs_in(pid: Pid, group: &str) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // `id (name) state parent group ..`, where the name may hold anything, brackets too.
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return Ok(false);
    };
    let mut fields = fields.split(' ');
    let state = fields.next().unwrap_or_default();
    Ok(fields.nth(1) == Some(group) && !matches!(state, "Z" | "X"))
}

fn process_ids() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}
