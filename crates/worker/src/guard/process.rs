//! The guard process: one thread that listens to its worker and, when it has to, kills.
//!
//! It reads no configuration, knows no secret, opens no connection and starts nothing. It ends by
//! itself when its worker has ended and nothing is left to kill.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
    io::Errno,
    process::setsid,
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    protocol::{Message, now},
    table::{Condemned, Table},
};
use crate::exec::sweep;

/// Longest sleep: the time may have jumped while the machine itself slept.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The last line that it writes into its lock file, once nothing of its worker's is left.
pub(crate) const ALL_DEAD: &str = "all dead\n";

/// Runs the guard until its worker has ended. `arguments`: the length of a lease in milliseconds,
/// and a file to hold locked meanwhile.
#[must_use]
pub fn serve(arguments: &[OsString]) -> ExitCode {
    match guard(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("it stopped: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn guard(arguments: &[OsString]) -> io::Result<()> {
    let wrong = || io::Error::other("it is started by slipway itself, not by hand");
    let [lease, lock] = arguments else {
        return Err(wrong());
    };
    let lease: u64 = lease
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(wrong)?;
    ignore_signals()?;
    // A signal to the worker's group or terminal must not end it together with the worker. It leads
    // a group already when somebody starts it by hand.
    let _leads_already = setsid();
    let _only_a_name = fs::write("/proc/self/comm", "slipway-guard");
    let lock = hold(Path::new(lock))?;
    answer();
    let table = listen(Table::new(Duration::from_millis(lease)))?;
    let all_dead = kill(&table.all(), "the worker has ended");
    if let Some(mut lock) = lock.filter(|_| all_dead) {
        lock.write_all(ALL_DEAD.as_bytes())?;
    }
    Ok(())
}

/// Requests to end are the worker's business; the guard ends after it.
fn ignore_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _inside = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        // Whoever has asked for a signal once keeps the default away for good.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Shares the worker's lock: it is free only when both processes have ended.
fn hold(path: &Path) -> io::Result<Option<File>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let file = OpenOptions::new().append(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockShared)?;
    Ok(Some(file))
}

/// Follows the worker until its end of the pipe is closed, by whatever end it came to. The system
/// closes it only after the last child on its way to its own program has got there.
fn listen(mut table: Table) -> io::Result<Table> {
    let mut input = io::stdin().lock();
    let mut unread = Vec::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let condemned = table.condemn(now());
        kill(
            &condemned,
            "the worker has lost its lease or does not answer",
        );
        let wait = table
            .next_look(now())
            .unwrap_or(LOOK_INTERVAL)
            .min(LOOK_INTERVAL);
        if !is_readable(&input, wait)? {
            continue;
        }
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(table),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        unread.extend_from_slice(buffer.get(..count).unwrap_or_default());
        for message in messages(&mut unread) {
            if message == Message::Ping {
                answer();
            }
            table.apply(message);
        }
    }
}

fn is_readable(input: &impl std::os::fd::AsFd, wait: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the complete lines out; half a line waits for its other half.
fn messages(unread: &mut Vec<u8>) -> Vec<Message> {
    let Some(end) = unread.iter().rposition(|&byte| byte == b'\n') else {
        return Vec::new();
    };
    let whole: Vec<u8> = unread.drain(..=end).collect();
    let text = String::from_utf8_lossy(&whole);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// False when something that it was to kill is still alive.
fn kill(condemned: &Condemned<'_>, why: &str) -> bool {
    if condemned.is_empty() {
        return true;
    }
    let groups = condemned
        .leaders
        .iter()
        .filter(|leader| leader.kill_group());
    let groups = groups.count();
    let swept = sweep::clear_all(&condemned.marks, &condemned.leaders);
    if groups + swept.killed > 0 {
        say(&format!(
            "{why}: killed {groups} process groups and {} processes besides",
            swept.killed
        ));
    }
    swept.is_clear
}

/// Nobody may be there to hear it.
fn answer() {
    let mut out = io::stdout().lock();
    let _nobody_there = out.write_all(b".").and_then(|()| out.flush());
}

fn say(text: &str) {
    let _nobody_there = writeln!(io::stderr().lock(), "slipway guard: {text}");
}
