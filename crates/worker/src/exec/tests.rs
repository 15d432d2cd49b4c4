use std::{path::Path, time::Duration};

use tokio::sync::oneshot;

use super::*;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Long enough never to be reached by a test that passes.
const LONG: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Command {
    Command::new("sh")
        .args(["-eu", "-c", script])
        .env("PATH", PATH)
}

fn limits() -> Limits {
    Limits {
        kill_grace: Duration::from_secs(5),
        drain_grace: Duration::from_millis(200),
        ..Limits::new(LONG)
    }
}

async fn finish(command: Command, limits: Limits) -> (Outcome, String) {
    let mut captured = Captured::new(64 * 1024 * 1024);
    let outcome = run(&command, &limits, &Scope::default(), &mut captured).await;
    (outcome, captured.text())
}

/// Signals as soon as the output has a line that says so.
struct Ready {
    seen: String,
    ready: Option<oneshot::Sender<()>>,
}

impl Sink for Ready {
    async fn write(&mut self, bytes: &[u8]) {
        self.seen.push_str(&String::from_utf8_lossy(bytes));
        if self.seen.contains("ready\n")
            && let Some(ready) = self.ready.take()
        {
            let _nobody_waits = ready.send(());
        }
    }
}

/// Runs a script, cancels it once it has printed `ready`, and gives its outcome and output.
async fn cancel_when_ready(script: &str, limits: Limits) -> (Outcome, String) {
    let (sender, receiver) = oneshot::channel();
    let mut sink = Ready {
        seen: String::new(),
        ready: Some(sender),
    };
    let scope = Scope::default();
    let command = sh(script);
    let (outcome, ()) = tokio::join!(run(&command, &limits, &scope, &mut sink), async {
        receiver.await.expect("the script gets ready");
        scope.cancel.cancel();
    });
    (outcome, sink.seen)
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let probe = async || if condition() { Ok(()) } else { Err(what) };
    slipway_testkit::eventually(Duration::from_secs(20), probe).await;
}

fn pids_in(dir: &Path, names: &[&str]) -> Vec<String> {
    let read = |name| {
        std::fs::read_to_string(dir.join(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    names.iter().map(read).collect()
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[tokio::test]
async fn exit_code_and_output_of_a_command_are_reported() {
    let (outcome, output) = finish(sh("echo hello; exit 7"), limits()).await;
    assert_eq!((outcome, output.as_str()), (Outcome::Exited(7), "hello\n"));
}

#[tokio::test]
async fn command_killed_by_a_foreign_signal_is_reported_as_such() {
    let (outcome, _) = finish(sh("kill -USR1 $$"), limits()).await;
    assert_eq!(outcome, Outcome::Signalled(10));
}

#[tokio::test]
async fn missing_program_is_not_started() {
    let (outcome, _) = finish(Command::new("/nonexistent/program"), limits()).await;
    let Outcome::NotStarted(reason) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("/nonexistent/program"), "{reason}");
}

#[tokio::test]
async fn missing_working_directory_is_named() {
    let (outcome, _) = finish(sh("true").dir("/nonexistent/dir"), limits()).await;
    let Outcome::NotStarted(reason) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("/nonexistent/dir"), "{reason}");
}

#[tokio::test]
async fn command_is_not_started_once_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let scope = Scope::default();
    scope.cancel.cancel();
    let command = sh("touch started").dir(dir.path());
    let outcome = run(&command, &limits(), &scope, &mut Captured::new(1000)).await;
    assert_eq!(outcome, Outcome::Cancelled);
    assert!(!dir.path().join("started").exists());
}

#[tokio::test]
async fn environment_is_exactly_what_was_given() {
    let command = Command::new("/usr/bin/env")
        .env("B", "two words")
        .env("A", "1");
    let (_, output) = finish(command, limits()).await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..2], ["A=1", "B=two words"]);
    assert!(lines[2].starts_with("SLIPWAY_RUN="), "{output}");
    assert_eq!(lines.len(), 3, "{output}");
}

#[tokio::test]
async fn standard_input_is_empty() {
    let (outcome, output) = finish(sh("cat; echo end"), limits()).await;
    assert_eq!((outcome, output.as_str()), (Outcome::Exited(0), "end\n"));
}

#[tokio::test]
async fn both_streams_arrive_in_the_order_they_were_written() {
    let script = "i=0; while [ $i -lt 500 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
    let (_, output) = finish(sh(script), limits()).await;
    let expected: String = (0..500).map(|i| format!("out{i}\nerr{i}\n")).collect();
    assert_eq!(output, expected);
}

#[tokio::test]
async fn errors_can_be_kept_out_of_the_output() {
    let (_, output) = finish(sh("echo data; echo noise >&2").discard_errors(), limits()).await;
    assert_eq!(output, "data\n");
}

#[tokio::test]
async fn million_lines_arrive_complete() {
    let (outcome, output) = finish(sh("seq 1000000"), limits()).await;
    assert_eq!(outcome, Outcome::Exited(0));
    let numbers: Vec<u32> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=1_000_000));
}

/// Takes nothing until the gate opens.
struct Gated {
    taken: Captured,
    gate: Option<oneshot::Receiver<()>>,
}

impl Sink for Gated {
    async fn write(&mut self, bytes: &[u8]) {
        if let Some(gate) = self.gate.take() {
            gate.await.unwrap();
        }
        self.taken.write(bytes).await;
    }
}

#[tokio::test]
async fn last_output_arrives_however_slow_the_sink_is() {
    let dir = tempfile::tempdir().unwrap();
    let ended = dir.path().join("ended");
    let (open, gate) = oneshot::channel();
    let mut sink = Gated {
        taken: Captured::new(1 << 20),
        gate: Some(gate),
    };
    let command = sh("seq 10000; touch ended").dir(dir.path());
    let limits = Limits {
        drain_grace: Duration::ZERO,
        ..limits()
    };
    let scope = Scope::default();
    let (outcome, ()) = tokio::join!(run(&command, &limits, &scope, &mut sink), async {
        eventually("the command ends", || ended.exists()).await;
        open.send(()).unwrap();
    });
    assert_eq!(outcome, Outcome::Exited(0));
    assert_eq!(sink.taken.text().lines().last(), Some("10000"));
}

#[tokio::test]
async fn sink_that_never_returns_does_not_keep_a_cancelled_run() {
    let (_never_opened, gate) = oneshot::channel();
    let mut sink = Gated {
        taken: Captured::new(1000),
        gate: Some(gate),
    };
    let dir = tempfile::tempdir().unwrap();
    let ended = dir.path().join("ended");
    let (command, scope) = (
        sh("echo one; touch ended").dir(dir.path()),
        Scope::default(),
    );
    let limits = limits();
    tokio::join!(run(&command, &limits, &scope, &mut sink), async {
        eventually("the command ends", || ended.exists()).await;
        scope.cancel.cancel();
    });
}

#[tokio::test]
async fn command_that_takes_too_long_is_stopped() {
    let limits = Limits {
        timeout: Duration::from_millis(100),
        ..limits()
    };
    let (outcome, output) = finish(sh("echo before; sleep 300"), limits).await;
    assert_eq!(outcome, Outcome::TimedOut);
    assert!("before\n".starts_with(&output));
}

#[tokio::test]
async fn silent_command_is_stopped() {
    let limits = Limits {
        idle_timeout: Some(Duration::from_millis(100)),
        ..limits()
    };
    let (outcome, _) = finish(sh("sleep 300"), limits).await;
    assert_eq!(outcome, Outcome::IdleTimedOut);
}

#[tokio::test]
async fn command_that_closed_its_output_counts_as_silent() {
    let limits = Limits {
        idle_timeout: Some(Duration::from_millis(100)),
        ..limits()
    };
    let (outcome, _) = finish(sh("exec >/dev/null 2>&1; sleep 300"), limits).await;
    assert_eq!(outcome, Outcome::IdleTimedOut);
}

#[tokio::test]
async fn command_that_speaks_now_and_then_is_not_silent() {
    let limits = Limits {
        idle_timeout: Some(Duration::from_secs(2)),
        ..limits()
    };
    let (outcome, output) = finish(sh("for i in 1 2 3; do echo $i; sleep 1; done"), limits).await;
    assert_eq!(
        (outcome, output.as_str()),
        (Outcome::Exited(0), "1\n2\n3\n")
    );
}

#[tokio::test]
async fn sink_that_makes_the_command_wait_is_not_silence() {
    struct Slow(Option<Duration>);
    impl Sink for Slow {
        async fn write(&mut self, _: &[u8]) {
            if let Some(pause) = self.0.take() {
                // pause: a sink that takes its time is what the test is about
                tokio::time::sleep(pause).await;
            }
        }
    }
    let idle_timeout = Duration::from_millis(300);
    let limits = Limits {
        idle_timeout: Some(idle_timeout),
        ..limits()
    };
    // More than a pipe holds, so the command cannot end before the sink has come back.
    let command = sh("seq 100000");
    let scope = Scope::default();
    let outcome = run(&command, &limits, &scope, &mut Slow(Some(idle_timeout * 3))).await;
    assert_eq!(outcome, Outcome::Exited(0));
}

#[tokio::test]
async fn output_printed_while_ending_is_kept() {
    let script = "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let (outcome, output) = cancel_when_ready(script, limits()).await;
    assert_eq!(outcome, Outcome::Cancelled);
    // Between the two the shell may say that its own child was terminated.
    assert!(
        output.starts_with("ready\n") && output.ends_with("cleaned\n"),
        "{output}"
    );
}

#[tokio::test]
async fn cancel_ends_grandchildren_wherever_they_hide() {
    let dir = tempfile::tempdir().unwrap();
    let at = quoted(dir.path());
    let script = format!(
        "cd {at}
         sleep 301 & echo $! > plain
         setsid sh -c 'echo $$ > session; sleep 302' &
         (trap '' TERM; sh -c 'echo $$ > deaf; while :; do sleep 303; done') &
         while ! [ -s session ] || ! [ -s deaf ]; do sleep 0.01; done
         echo ready; wait"
    );
    let limits = Limits {
        kill_grace: Duration::from_millis(100),
        ..limits()
    };
    let (outcome, _) = cancel_when_ready(&script, limits).await;
    assert_eq!(outcome, Outcome::Cancelled);
    for pid in pids_in(dir.path(), &["plain", "session", "deaf"]) {
        assert!(!is_alive(&pid));
    }
}

#[tokio::test]
async fn whole_group_gets_the_grace_time_not_only_its_leader() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}
         sh -c 'trap \"echo done > cleaned; exit\" TERM; echo > set; while :; do sleep 0.01; done' &
         while ! [ -e set ]; do sleep 0.01; done
         trap - TERM; echo ready; wait",
        quoted(dir.path())
    );
    let (outcome, _) = cancel_when_ready(&script, limits()).await;
    assert_eq!(outcome, Outcome::Cancelled);
    assert!(dir.path().join("cleaned").exists());
}

#[tokio::test]
async fn dropped_run_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}; sleep 301 & echo $! > plain; setsid sh -c 'echo $$ > session; sleep 302' &
         while ! [ -s session ]; do sleep 0.01; done; echo ready; wait",
        quoted(dir.path())
    );
    let (sender, receiver) = oneshot::channel();
    let mut sink = Ready {
        seen: String::new(),
        ready: Some(sender),
    };
    let (command, scope) = (sh(&script), Scope::default());
    let limits = limits();
    tokio::select! {
        outcome = run(&command, &limits, &scope, &mut sink) => panic!("ended: {outcome:?}"),
        ready = receiver => ready.unwrap(),
    }
    for pid in pids_in(dir.path(), &["plain", "session"]) {
        eventually("the process is gone", || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn finished_step_leaves_its_sessions_but_not_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}
         sleep 301 & echo $! > plain
         setsid sh -c 'echo $$ > session; exec sleep 302' >/dev/null 2>&1 &
         while ! [ -s session ]; do sleep 0.01; done",
        quoted(dir.path())
    );
    let (outcome, _) = finish(sh(&script), limits()).await;
    assert_eq!(outcome, Outcome::Exited(0));
    let pids = pids_in(dir.path(), &["plain", "session"]);
    eventually("the group is gone", || !is_alive(&pids[0])).await;
    assert!(is_alive(&pids[1]));
    let session = rustix::process::Pid::from_raw(pids[1].parse().unwrap()).unwrap();
    rustix::process::kill_process(session, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn background_holder_of_the_pipe_does_not_keep_the_run_open() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}; setsid sh -c 'echo $$ > holder; while :; do echo noise; sleep 0.01; done' &
         while ! [ -s holder ]; do sleep 0.01; done; echo leaving",
        quoted(dir.path())
    );
    let (outcome, output) = finish(sh(&script), limits()).await;
    assert_eq!(outcome, Outcome::Exited(0));
    assert!(output.contains("leaving\n"));
    let pid = &pids_in(dir.path(), &["holder"])[0];
    let holder = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    // Writing into a pipe that nobody reads ends it too; either way it must not stay.
    let _already_gone = rustix::process::kill_process(holder, rustix::process::Signal::KILL);
    eventually("the holder is gone", || !is_alive(pid)).await;
}

#[tokio::test]
async fn captured_output_keeps_its_end() {
    let mut captured = Captured::new(4);
    captured.write(b"abc").await;
    assert!(!captured.overflowed());
    captured.write(b"def").await;
    assert_eq!(
        (captured.text().as_str(), captured.overflowed()),
        ("cdef", true)
    );
}

#[tokio::test]
async fn commands_run_side_by_side_without_mixing() {
    let mut runs = tokio::task::JoinSet::new();
    for i in 0..20 {
        runs.spawn(async move {
            (
                i,
                finish(sh(&format!("echo {i}; exit {i}")), limits()).await,
            )
        });
    }
    for (i, result) in runs.join_all().await {
        assert_eq!(result, (Outcome::Exited(i), format!("{i}\n")));
    }
}
