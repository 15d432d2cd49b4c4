//! Finds processes by reading `/proc`, for what process groups cannot do.
//!
//! A process leaves its group by starting a session, but keeps the environment it was started
//! with. One that also replaces its environment is not found; such a process hides on purpose,
//! and keeping those in needs a container, not a sweep.

use std::{collections::HashSet, fs, io, os::fd::OwnedFd, thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, getppid, kill_process_group},
};

/// The environment variable that marks everything one command has started.
pub(super) const MARK_NAME: &str = "SLIPWAY_RUN";

/// How often a sweep looks again before it gives up on something that forks faster than it dies.
const ROUNDS_MAX: u32 = 200;

/// Between rounds, so that killed processes can go.
const ROUND_PAUSE: Duration = Duration::from_millis(5);

/// The random value that tells one command's processes from every other's.
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
    pub(super) fn clear_now(&self) {
        clear_all(&HashSet::from([self.value()]), &[]);
    }
}

/// What came of a sweep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swept {
    /// How many processes carried a mark.
    pub(crate) killed: usize,
    /// Whether none is left.
    pub(crate) is_clear: bool,
}

/// Kills every process that carries one of these marks, and what shares one of these groups with
/// such a process.
///
/// Two empty rounds are asked for: a process in the middle of `exec` has no environment to read.
pub(crate) fn clear_all(marks: &HashSet<&str>, groups: &[&Leader]) -> Swept {
    let (mut empty_rounds, mut killed) = (0, 0);
    for _ in 0..ROUNDS_MAX {
        let now = process_ids()
            .filter(|&pid| kill_if_marked(pid, marks, groups))
            .count();
        killed += now;
        empty_rounds = if now == 0 { empty_rounds + 1 } else { 0 };
        if empty_rounds == 2 {
            return Swept {
                killed,
                is_clear: true,
            };
        }
        thread::sleep(ROUND_PAUSE);
    }
    tracing::warn!(
        rounds = ROUNDS_MAX,
        "processes of a stopped command are still alive"
    );
    Swept {
        killed,
        is_clear: false,
    }
}

/// The handle is taken before the environment is read, so the signal cannot reach a process
/// that got the same id in between.
fn kill_if_marked(pid: Pid, marks: &HashSet<&str>, groups: &[&Leader]) -> bool {
    let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    if !mark_of(pid).is_some_and(|mark| marks.contains(mark.as_str())) {
        return false;
    }
    // As long as a marked process is in the group, the group is still the one that was started.
    for leader in groups {
        if runs_in(pid, &leader.group.as_raw_nonzero().to_string()).unwrap_or(false) {
            let _already_gone = kill_process_group(leader.group, Signal::KILL);
        }
    }
    rustix::process::pidfd_send_signal(handle, Signal::KILL).is_ok()
}

fn mark_of(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let text = environment.split(|&byte| byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(MARK_NAME.as_bytes())?;
        value.strip_prefix(b"=")
    })?;
    String::from_utf8(text.to_vec()).ok()
}

/// The first process of a command, which leads its group, held so that no other process that is
/// given its id later is taken for it.
#[derive(Debug)]
pub(crate) struct Leader {
    group: Pid,
    /// None when it had ended before it could be held.
    handle: Option<OwnedFd>,
}

impl Leader {
    /// Holds a process that carries this mark, or is a child of this process's own parent.
    pub(crate) fn new(group: Pid, mark: &str) -> Self {
        let handle = rustix::process::pidfd_open(group, PidfdFlags::empty()).ok();
        let is_it = || {
            mark_of(group).is_some_and(|own| own == mark)
                || getppid().is_some() && parent_of(group).ok().flatten() == getppid()
        };
        Self {
            group,
            handle: handle.filter(|_| is_it()),
        }
    }

    /// Kills its group if it still runs itself; says whether it did. A group whose leader has ended
    /// is recognised by its other members, in [`clear_all`].
    pub(crate) fn kill_group(&self) -> bool {
        let Some(handle) = &self.handle else {
            return false;
        };
        // Readable once it has ended.
        let mut fds = [PollFd::new(handle, PollFlags::IN)];
        let ended = poll(&mut fds, Some(&Timespec::default())) != Ok(0);
        !ended && kill_process_group(self.group, Signal::KILL).is_ok()
    }
}

fn parent_of(pid: Pid) -> io::Result<Option<Pid>> {
    let parent = stat_fields(pid)?
        .nth(1)
        .and_then(|field| field.parse().ok());
    Ok(parent.and_then(Pid::from_raw))
}

/// State, parent, group and so on. The name before them may hold anything, brackets too.
fn stat_fields(pid: Pid) -> io::Result<impl Iterator<Item = String>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned());
    let fields = fields.unwrap_or_default();
    let fields: Vec<String> = fields.split(' ').map(str::to_owned).collect();
    Ok(fields.into_iter())
}

/// Whether a process group has a member that still runs.
///
/// Asking the kernel with signal 0 would count a leader that ended but was not reaped.
pub(super) fn group_is_alive(group: Pid) -> bool {
    let group = group.as_raw_nonzero().get().to_string();
    process_ids().any(|pid| runs_in(pid, &group).unwrap_or(false))
}

fn runs_in(pid: Pid, group: &str) -> io::Result<bool> {
    let mut fields = stat_fields(pid)?;
    let state = fields.next().unwrap_or_default();
    Ok(fields.nth(1).as_deref() == Some(group) && !matches!(state.as_str(), "Z" | "X"))
}

fn process_ids() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}
