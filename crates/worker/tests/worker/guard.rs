//! The guard at its work: what it kills, what it leaves alone, and that it is replaced.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use slipway_core::deployment::status::Status;
use slipway_testkit::{built, eventually, eventually_blocking};
use slipway_worker::{
    exec::{self, Captured, Command, Limits, Outcome, Scope},
    guard::{Guard, Program, Run},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    interruption::{take_back, waiting_in},
    process::{is_gone, pid_in, until_gone},
    rig::{DEADLINE, guard_program},
};

/// Every way to stay behind: in the group, in a session of its own, deaf, and without the
/// environment that it was started with.
const STUBBORN: &str = "trap '' TERM INT HUP
sleep 300 & echo $! > plain
setsid sh -c 'echo $$ > session; while :; do sleep 300; done' &
env -i /bin/sh -c 'echo $$ > bare; while :; do sleep 300; done' &
for name in plain session bare; do until [ -s $name ]; do sleep 0.01; done; done
echo $$ > leader; while :; do sleep 300; done";
const PIDS: [&str; 4] = ["plain", "session", "bare", "leader"];

/// A lease that no test outlives.
const LONG: Duration = Duration::from_secs(3600);

fn guard(lease: Duration) -> Guard {
    Guard::start(guard_program(), lease, None).unwrap()
}

fn scope(run: Run) -> Scope {
    Scope {
        cancel: CancellationToken::new(),
        run,
    }
}

/// Runs a script in this folder, as a task of its own.
fn run(script: &str, at: &Path, scope: Scope) -> JoinHandle<Outcome> {
    let command = Command::new("/bin/sh")
        .args(["-eu", "-c", script])
        .env("PATH", "/usr/bin:/bin")
        .dir(at);
    tokio::spawn(async move {
        let mut output = Captured::new(10_000);
        exec::run(&command, &Limits::new(LONG), &scope, &mut output).await
    })
}

async fn pids_in(at: &Path) -> Vec<String> {
    pid_in(&at.join("leader")).await;
    let mut pids = Vec::new();
    for name in PIDS {
        pids.push(pid_in(&at.join(name)).await);
    }
    pids
}

/// Kills the guard and answers when another one has taken its place.
async fn replace(guard: &Guard) {
    let old = guard.id().unwrap();
    kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
    eventually(DEADLINE, async || match guard.id() {
        Some(new) if new != old => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn end_of_the_worker_ends_everything_wherever_it_hides() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(LONG);
    let _task = run(STUBBORN, dir.path(), scope(guard.run(Duration::ZERO)));
    let pids = pids_in(dir.path()).await;
    // To the guard this is what the end of the process is: its pipe ends.
    drop(guard);
    for pid in pids {
        until_gone(&pid).await;
    }
}

#[tokio::test]
async fn what_was_finished_may_stay() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(LONG);
    let script = "setsid sh -c 'echo $$ > daemon; exec sleep 300' >/dev/null 2>&1 &
        until [ -s daemon ]; do sleep 0.01; done";
    let finished = run(script, dir.path(), scope(guard.run(Duration::ZERO)));
    assert_eq!(finished.await.unwrap(), Outcome::Exited(0));
    let _task = run(
        "echo $$ > other; sleep 300",
        dir.path(),
        scope(guard.run(Duration::ZERO)),
    );
    let (daemon, other) = (
        pid_in(&dir.path().join("daemon")).await,
        pid_in(&dir.path().join("other")).await,
    );
    drop(guard);
    until_gone(&other).await;
    assert!(!is_gone(&daemon));
    let daemon = Pid::from_raw(daemon.parse().unwrap()).unwrap();
    kill_process(daemon, Signal::KILL).unwrap();
}

#[tokio::test]
async fn run_without_renewal_ends_although_its_worker_is_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(Duration::from_secs(3));
    let (run_of_it, other) = (guard.run(Duration::ZERO), guard.run(Duration::ZERO));
    let first = run(STUBBORN, dir.path(), scope(run_of_it));
    let _second = run(
        "echo $$ > other; sleep 300",
        dir.path(),
        scope(other.clone()),
    );
    let pids = pids_in(dir.path()).await;
    let renewed = pid_in(&dir.path().join("other")).await;
    // This thread is the runtime, so nothing of the worker moves meanwhile.
    eventually_blocking(DEADLINE, || {
        other.renewed(Duration::ZERO);
        let left: Vec<&String> = pids.iter().filter(|pid| !is_gone(pid)).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    assert!(!is_gone(&renewed));
    assert_eq!(
        first.await.unwrap(),
        Outcome::Cancelled,
        "its end is not its own doing"
    );
}

#[tokio::test]
async fn run_whose_lease_is_over_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(Duration::from_secs(30));
    let late = guard.run(Duration::from_secs(20));
    let outcome = run("touch started", dir.path(), scope(late)).await.unwrap();
    assert_eq!(outcome, Outcome::Cancelled);
    let lost = guard.run(Duration::ZERO);
    lost.lost();
    let outcome = run("touch started", dir.path(), scope(lost)).await.unwrap();
    assert_eq!(outcome, Outcome::Cancelled);
    assert!(!dir.path().join("started").exists());
}

#[tokio::test]
async fn lost_guard_is_replaced_and_the_new_one_knows_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(LONG);
    let _task = run(STUBBORN, dir.path(), scope(guard.run(Duration::ZERO)));
    let pids = pids_in(dir.path()).await;
    replace(&guard).await;
    replace(&guard).await;
    assert!(pids.iter().all(|pid| !is_gone(pid)), "nothing was harmed");
    let after = run("true", dir.path(), scope(guard.run(Duration::ZERO)));
    assert_eq!(after.await.unwrap(), Outcome::Exited(0));
    drop(guard);
    for pid in pids {
        until_gone(&pid).await;
    }
}

#[tokio::test]
async fn guard_that_takes_nothing_in_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(Duration::from_secs(3));
    let old = guard.id().unwrap();
    kill_process(Pid::from_raw(old).unwrap(), Signal::STOP).unwrap();
    eventually(DEADLINE, async || match guard.id() {
        Some(new) if new != old => Ok(()),
        other => Err(other),
    })
    .await;
    let after = run("true", dir.path(), scope(guard.run(Duration::ZERO)));
    assert_eq!(after.await.unwrap(), Outcome::Exited(0));
}

#[tokio::test]
async fn guard_does_not_mind_being_asked_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let guard = guard(LONG);
    let id = guard.id().unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
    let _task = run(
        "echo $$ > pid; sleep 300",
        dir.path(),
        scope(guard.run(Duration::ZERO)),
    );
    let pid = pid_in(&dir.path().join("pid")).await;
    assert_eq!(guard.id(), Some(id));
    drop(guard);
    until_gone(&pid).await;
    until_gone(&id.to_string()).await;
}

/// A guard program that can be taken away.
fn removable(dir: &Path) -> (Program, std::path::PathBuf) {
    let path = dir.join("guard-program");
    std::os::unix::fs::symlink(built("slipway-worker"), &path).unwrap();
    (Program::at(&path), path)
}

#[tokio::test]
async fn without_a_guard_nothing_new_starts_until_there_is_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let (program, path) = removable(dir.path());
    let guard = Guard::start(program, Duration::from_secs(3), None).unwrap();
    fs::remove_file(&path).unwrap();
    let old = guard.id().unwrap();
    kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
    guard.missing().await;
    let waiting = run(
        "touch started",
        dir.path(),
        scope(guard.run(Duration::ZERO)),
    );
    let cancelled = scope(guard.run(Duration::ZERO));
    let given_up = run("touch started", dir.path(), cancelled.clone());
    cancelled.cancel.cancel();
    assert_eq!(given_up.await.unwrap(), Outcome::Cancelled);
    assert!(!dir.path().join("started").exists());
    std::os::unix::fs::symlink(built("slipway-worker"), &path).unwrap();
    guard.ready().await;
    // The lease of what waited may be over by now; a new one is not.
    let _either = waiting.await.unwrap();
    let outcome = run("touch again", dir.path(), scope(guard.run(Duration::ZERO)));
    assert_eq!(outcome.await.unwrap(), Outcome::Exited(0));
}

#[tokio::test]
async fn worker_that_can_have_no_guard_gives_its_runs_back_without_a_charge() {
    let mut rig = waiting_in("build", &[("QUEUE__LEASE_MS", "3000")]).await;
    let (program, path) = removable(rig.dir.path());
    rig.guard = program;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    let pid = rig.until_pid().await;
    fs::remove_file(&path).unwrap();
    worker.kill_guard();
    run.await.unwrap();
    until_gone(&pid).await;
    let row = rig.row(id).await;
    assert_eq!(
        (row.status, row.attempt, row.interruptions),
        (Status::Queued, 0, 0)
    );
}

#[tokio::test]
async fn lease_that_was_lost_ends_the_run_although_the_worker_is_stuck() {
    let rig = waiting_in("build", &[("QUEUE__LEASE_MS", "3000")]).await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    let pid = rig.until_pid().await;
    take_back(&rig, &rig.row(id).await).await;
    // This thread is the worker's runtime. The thread that renews is not, and learns of it.
    eventually_blocking(DEADLINE, || if is_gone(&pid) { Ok(()) } else { Err(&pid) });
    run.await.unwrap();
    assert_eq!(rig.row(id).await.status, Status::Queued);
}
