//! Real processes of the workspace's own binaries, with their output kept.
//!
//! Tests of crashes, signals and start-up use these; everything else can stay in one process.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{environment::variables, poll::eventually_blocking};

/// A program about to be started.
#[derive(Debug)]
pub struct Program {
    command: Command,
}

impl Program {
    /// A binary of this workspace, from the folder that this test was built into.
    ///
    /// It sees none of the `SLIPWAY…` variables around the test, only those it is given.
    ///
    /// # Panics
    /// When it was not built.
    #[must_use]
    pub fn workspace(name: &str) -> Self {
        Self::new(built(name))
    }

    /// Any program, by path or by name.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for name in variables()
            .keys()
            .filter(|name| name.starts_with("SLIPWAY"))
        {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets one variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets many variables of its environment.
    #[must_use]
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.command.envs(pairs);
        self
    }

    /// Sets the folder it starts in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(mut self) -> Output {
        self.command
            .output()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command))
    }

    /// Starts it with its output and errors going to a file, for somebody who looks after it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_into(mut self, log: File) -> io::Result<Child> {
        self.command.stderr(log.try_clone()?).stdout(log).spawn()
    }

    /// Starts it and lets it run.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut self) -> RunningProgram {
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let output = Arc::new(Captured::default());
        read_into(
            &output,
            child.stdout.take().expect("its output was asked for"),
        );
        read_into(
            &output,
            child.stderr.take().expect("its errors were asked for"),
        );
        RunningProgram { child, output }
    }
}

/// A started program, killed when it is dropped.
#[derive(Debug)]
pub struct RunningProgram {
    child: Child,
    output: Arc<Captured>,
}

impl RunningProgram {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Every line it has printed so far, output and errors together.
    #[must_use]
    pub fn logs(&self) -> String {
        let state = self
            .output
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.lines.join("\n")
    }

    /// Waits for a line from which `pick` takes something; lines already printed count.
    ///
    /// # Panics
    /// When no such line came before the deadline or before the program ended.
    pub fn wait_for_line<T>(
        &self,
        deadline: Duration,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let end = Instant::now() + deadline;
        let mut seen = 0;
        let mut state = self
            .output
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = state.lines.iter().skip(seen).find_map(|line| pick(line)) {
                return found;
            }
            seen = state.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            let ended = state.open_streams == 0;
            assert!(
                !ended && !left.is_zero(),
                "no such line; printed:\n{}",
                state.lines.join("\n")
            );
            let waited = self.output.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks it to end, as `systemctl stop` does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in its tracks.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen program go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once, without a chance to tidy up.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("an owned process can be killed");
        self.child.wait().expect("a killed process ends")
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("an owned process can be asked")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it still runs at the deadline; the message holds what it printed.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let output = Arc::clone(&self.output);
        let child = &mut self.child;
        eventually_blocking(deadline, || {
            let status = child.try_wait().expect("an owned process can be asked");
            status.ok_or_else(|| output.last_lines())
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("an owned process takes signals");
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Debug, Default)]
struct Captured {
    state: Mutex<CapturedState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct CapturedState {
    lines: Vec<String>,
    open_streams: usize,
}

impl Captured {
    fn update(&self, change: impl FnOnce(&mut CapturedState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn last_lines(&self) -> VecDeque<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines.iter().rev().take(20).rev().cloned().collect()
    }
}

fn read_into(output: &Arc<Captured>, stream: impl Read + Send + 'static) {
    output.update(|state| state.open_streams += 1);
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.update(|state| state.lines.push(line));
        }
        output.update(|state| state.open_streams -= 1);
    });
}

/// A binary of this workspace, from the folder that this test was built into.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let path = built_folder().join(name);
    assert!(
        path.exists(),
        "{name} is not built: run deploy/test.sh, or `cargo build --workspace` first"
    );
    path
}

/// The folder that holds the workspace's binaries: test executables lie in `deps` below it.
pub(crate) fn built_folder() -> PathBuf {
    let executable = env::current_exe().expect("a process knows its own executable");
    let folder = executable.parent().expect("an executable lies in a folder");
    if folder.ends_with("deps") {
        folder
            .parent()
            .map_or_else(|| folder.to_owned(), Path::to_owned)
    } else {
        folder.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Program {
        Program::new("sh").args(["-c", script])
    }

    #[test]
    fn line_is_found_whichever_stream_it_came_on() {
        let program =
            shell("echo one; echo two >&2; echo port 4000; exec tail -f /dev/null").start();
        program.wait_for_line(DEADLINE, |line| (line == "two").then_some(()));
        let port: u16 =
            program.wait_for_line(DEADLINE, |line| line.strip_prefix("port ")?.parse().ok());
        assert_eq!(port, 4000);
    }

    #[test]
    #[should_panic(expected = "no such line; printed:\nbroken configuration")]
    fn program_that_ends_early_is_not_waited_for() {
        let program = shell("echo broken configuration").start();
        program.wait_for_line(DEADLINE, |line| (line == "ready").then_some(()));
    }

    #[test]
    fn terminated_program_may_tidy_up() {
        let script = "trap 'kill $!; echo tidy; exit 3' TERM; tail -f /dev/null & echo up; wait";
        let mut program = shell(script).start();
        program.wait_for_line(DEADLINE, |line| (line == "up").then_some(()));
        program.terminate();
        assert_eq!(program.wait(DEADLINE).code(), Some(3));
        program.wait_for_line(DEADLINE, |line| (line == "tidy").then_some(()));
    }

    #[test]
    fn program_that_ignores_the_request_is_killed() {
        let mut program = shell("trap '' TERM; echo up; exec tail -f /dev/null").start();
        program.wait_for_line(DEADLINE, |line| (line == "up").then_some(()));
        program.terminate();
        assert_eq!(program.kill().signal(), Some(9));
    }

    #[test]
    fn variables_of_the_test_run_do_not_reach_the_program() {
        let seen = shell("env").env("SLIPWAY__SERVER__PORT", "0").run();
        let seen = String::from_utf8(seen.stdout).unwrap();
        let ours: Vec<&str> = seen
            .lines()
            .filter(|line| line.starts_with("SLIPWAY"))
            .collect();
        assert_eq!(ours, ["SLIPWAY__SERVER__PORT=0"]);
    }

    #[test]
    fn workspace_binary_is_found_beside_the_tests() {
        let folder = tempfile::tempdir().unwrap();
        let output = Program::workspace("testkit-certs")
            .args([folder.path()])
            .run();
        assert!(output.status.success(), "{output:?}");
        assert!(folder.path().join("server.key").exists());
    }

    #[test]
    #[should_panic(expected = "slipway-nothing is not built")]
    fn missing_binary_is_named() {
        let _ = Program::workspace("slipway-nothing");
    }
}
