//! Deployments that are cancelled, lost, handed back, or fall over.

use std::{fs, path::Path, sync::Arc};

use slipway_core::{
    db,
    deployment::{
        entity::deployment::Model,
        status::{Status, Transition},
        store::{self, Guard},
    },
    ports::Authority,
};
use slipway_testkit::eventually;

use crate::{
    faults::PanickingBus,
    look::reason,
    process::{is_gone, until_gone},
    rig::{DEADLINE, Rig, TARGET, guard_program},
};

/// A step that says that it has begun and with which process, and ends when the test wants it.
const WAIT: &str =
    "echo $$ > \"$AT/pid\"; touch \"$AT/begun\"; until [ -e \"$AT/go\" ]; do sleep 0.02; done";

/// A rig whose pipeline has one step in this phase that waits.
pub(crate) async fn waiting_in(phase: &str, settings: &[(&str, &str)]) -> Rig {
    let pipeline = format!("{phase}:\n  - name: wait\n    run: '{WAIT}'\nactivate: {{}}\n");
    let rig = Rig::with(&pipeline, settings).await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    rig
}

/// Deploys once, so that there is a release to go back to, and leaves the next one waiting.
async fn with_a_previous_release(rig: &Rig) {
    fs::write(rig.path("go"), "").unwrap();
    assert_eq!(rig.deployed().await.status, Status::Succeeded);
    for name in ["go", "begun", "pid"] {
        fs::remove_file(rig.path(name)).unwrap();
    }
    rig.repo.commit_file("index.html", "two\n");
}

#[tokio::test]
async fn cancelled_build_is_stopped_with_its_processes() {
    let rig = waiting_in("build", &[]).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    rig.cancel(id).await;
    let row = rig.end_of(id).await;
    assert_eq!(
        reason(&row),
        (Status::Cancelled, "cancelled", "Somebody cancelled it.")
    );
    assert_eq!(row.cancel_requested_by, Some(rig.admin.user));
    until_gone(&rig.until_pid().await).await;
    running.drain().await;
    assert_eq!(rig.current(), None);
    rig.assert_no_run_folder();
    insta::assert_snapshot!(rig.steps(id).await, @"
    checkout checkout succeeded
    build wait cancelled
    release ship skipped
    activate activate skipped
    ");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # Cancelled.
    ");
}

#[tokio::test]
async fn cancel_before_the_switch_leaves_the_live_release_alone() {
    let rig = waiting_in("release", &[]).await;
    with_a_previous_release(&rig).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    rig.cancel(id).await;
    assert_eq!(rig.end_of(id).await.status, Status::Cancelled);
    running.drain().await;
    assert_eq!(rig.current().as_deref(), Some("releases/1"));
    assert_eq!(rig.releases().await, "1 live");
}

#[tokio::test]
async fn cancel_after_the_switch_puts_the_previous_release_back() {
    let rig = waiting_in("after", &[]).await;
    with_a_previous_release(&rig).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    assert_eq!(rig.current().as_deref(), Some("releases/2"));
    rig.cancel(id).await;
    assert_eq!(rig.end_of(id).await.status, Status::Cancelled);
    running.drain().await;
    assert_eq!(rig.current().as_deref(), Some("releases/1"));
    assert_eq!(rig.releases().await, "1 live, 2 failed");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 2 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # Release 2 is live.
    # Release 1 was put back.
    # Cancelled.
    ");
}

#[tokio::test]
async fn cancelling_what_waits_for_its_next_attempt_frees_the_target() {
    let rig = Rig::with(
        "build:\n  - { name: first, run: '[ $SLIPWAY_DEPLOYMENT != 1 ]' }\n",
        &[("QUEUE__RETRY_DELAYS", "[3600000]")],
    )
    .await;
    let (worker, first) = (rig.worker(), rig.deploy().await);
    worker.once().await;
    assert_eq!(rig.row(first).await.status, Status::Queued);
    let second = rig.deploy().await;
    assert!(!worker.runner.run_once().await, "the target is taken");
    rig.cancel(first).await;
    assert_eq!(rig.row(first).await.status, Status::Cancelled);
    worker.once().await;
    assert_eq!(rig.row(second).await.status, Status::Succeeded);
}

#[tokio::test]
async fn cancel_that_nobody_heard_of_wins_over_the_next_attempt() {
    let rig = Rig::with(
        "build:\n  - name: fail\n    run: touch \"$AT/begun\"; until [ -e \"$AT/go\" ]; do sleep 0.02; done; exit 1\n",
        &[("QUEUE__LEASE_MS", "600000")],
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    rig.until_exists("begun").await;
    rig.cancel_is_asked_for(id).await;
    fs::write(rig.path("go"), "").unwrap();
    run.await.unwrap();
    assert_eq!(rig.row(id).await.status, Status::Cancelled);
    let next = rig.deploy().await;
    assert_eq!(worker.finish(&rig, next).await.status, Status::Failed);
}

/// Does what recovery does to a run whose worker was lost, without waiting for its lease.
pub(crate) async fn take_back(rig: &Rig, row: &Model) {
    let tx = rig.ctx.db.begin().await.unwrap();
    let done = store::apply(
        &tx,
        row,
        Guard::Fence(row.fence),
        &Transition::Interrupt,
        db::now(),
    );
    assert!(done.await.unwrap());
    tx.commit().await.unwrap();
    let told = rig
        .ctx
        .queue
        .requeue(row.entry(), &Authority::Database)
        .await;
    told.unwrap();
}

#[tokio::test]
async fn lost_run_is_stopped_when_its_lease_is_not_renewed_and_writes_nothing() {
    let rig = waiting_in("build", &[("QUEUE__LEASE_MS", "3000")]).await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    rig.until_exists("begun").await;
    take_back(&rig, &rig.row(id).await).await;
    let (row, steps, log) = (rig.row(id).await, rig.steps(id).await, rig.log(id).await);

    until_gone(&rig.until_pid().await).await;
    run.await.unwrap();
    assert_eq!(rig.row(id).await, row);
    assert_eq!(rig.steps(id).await, steps);
    assert_eq!(rig.log(id).await, log);
    assert_eq!(
        steps,
        "checkout checkout succeeded\nbuild wait lost\nrelease ship skipped\n\
         activate activate skipped\n"
    );
    assert_eq!(
        (row.status, row.attempt, row.interruptions),
        (Status::Queued, 0, 1)
    );
    rig.assert_no_run_folder();
}

#[tokio::test]
async fn lost_run_that_prints_is_stopped_by_its_next_line() {
    let rig = Rig::with(
        "build:\n  - name: chatter\n    run: echo $$ > \"$AT/pid\"; while :; do echo line; sleep 0.02; done\n",
        &[("QUEUE__LEASE_MS", "600000")],
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    let pid = rig.until_pid().await;
    // Renewals are far apart: what stops the run is the refused line.
    take_back(&rig, &rig.row(id).await).await;
    let log = rig.log(id).await;
    until_gone(&pid).await;
    run.await.unwrap();
    assert_eq!(rig.log(id).await, log);
    assert_eq!(rig.row(id).await.status, Status::Queued);
}

#[tokio::test]
async fn run_whose_lease_cannot_be_renewed_stops_although_it_does_not_want_to() {
    let rig = Rig::with(
        "build:\n  - name: deaf\n    run: trap '' TERM; echo $$ > \"$AT/pid\"; while :; do sleep 0.02; done\n",
        &[("QUEUE__LEASE_MS", "3000")],
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    let pid = rig.until_pid().await;
    // Nobody else can write now, the keeper with its own connection included.
    let blocked = rig.ctx.db.begin().await.unwrap();
    until_gone(&pid).await;
    run.await.unwrap();
    drop(blocked);
    let row = rig.row(id).await;
    assert_eq!((row.status, row.fence), (Status::Running, 1));
    rig.assert_no_run_folder();
}

#[tokio::test]
async fn older_run_cannot_switch_after_a_newer_one() {
    // Renewals are far apart, so the older run learns of its end from nobody.
    let rig = waiting_in("release", &[("QUEUE__LEASE_MS", "600000")]).await;
    let id = rig.deploy().await;
    let (old, new) = (rig.worker(), rig.worker());
    let runner = old.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    let pid = rig.until_pid().await;
    take_back(&rig, &rig.row(id).await).await;

    // The newer run must not wait as the older one does.
    rig.pipeline("release:\n  - name: mark\n    run: echo new > mark\n")
        .await;
    let row = new.finish(&rig, id).await;
    assert_eq!(
        (row.status, row.attempt, row.fence),
        (Status::Succeeded, 1, 2)
    );
    assert!(!is_gone(&pid), "the older run has not noticed anything yet");
    let (steps, log) = (rig.steps(id).await, rig.log(id).await);
    fs::write(rig.path("go"), "").unwrap();
    run.await.unwrap();
    assert_eq!(rig.row(id).await, row);
    assert_eq!(rig.steps(id).await, steps);
    assert_eq!(rig.log(id).await, log);
    assert_eq!(rig.live_file("mark"), "new\n");
    let fence = rig.path(TARGET).join(".slipway/fence");
    assert_eq!(fs::read_to_string(fence).unwrap(), "2 1\n");
}

/// How often this process has a file open.
fn times_open(path: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|entry| fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(|to| to == path))
        .count()
}

#[tokio::test]
async fn run_that_is_lost_while_it_waits_for_its_target_does_not_switch() {
    let rig = waiting_in("release", &[("QUEUE__LEASE_MS", "3000")]).await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    let runner = worker.runner.clone();
    let run = tokio::spawn(async move { runner.run_once().await });
    rig.until_exists("begun").await;
    let path = rig.path(TARGET).join(".slipway/lock");
    let path = path.canonicalize().unwrap();
    let lock = fs::File::open(&path).unwrap();
    lock.lock().unwrap();
    fs::write(rig.path("go"), "").unwrap();
    // It has asked the database for the last time, and stands before the target.
    let is_open = async |times| {
        eventually(DEADLINE, async || match times_open(&path) {
            seen if seen == times => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    is_open(2).await;
    take_back(&rig, &rig.row(id).await).await;
    run.await.unwrap();
    let row = rig.row(id).await;
    // Nobody newer was there: nothing but the lost lease tells the run to leave it.
    lock.unlock().unwrap();
    is_open(1).await;
    assert_eq!(rig.current(), None);
    assert_eq!(rig.row(id).await, row);
    assert_eq!(
        (row.status, row.attempt, row.interruptions),
        (Status::Queued, 0, 1)
    );
}

#[tokio::test]
async fn drained_worker_hands_its_runs_back_uncharged_and_another_finishes_them() {
    let rig = waiting_in("build", &[("WORKER__DRAIN_TIMEOUT_SECONDS", "0")]).await;
    let id = rig.deploy().await;
    let running = rig.start();
    let pid = rig.until_pid().await;
    running.drain().await;
    assert!(is_gone(&pid));
    let row = rig.row(id).await;
    assert_eq!(
        (row.status, row.attempt, row.interruptions),
        (Status::Queued, 0, 0)
    );
    rig.assert_no_run_folder();
    fs::write(rig.path("go"), "").unwrap();
    let row = rig.finished(id).await;
    assert_eq!((row.status, row.attempt), (Status::Succeeded, 1));
    insta::assert_snapshot!(rig.steps(id).await, @"
    checkout checkout succeeded
    build wait cancelled
    release ship skipped
    activate activate skipped
    checkout checkout succeeded
    build wait succeeded 0
    release ship succeeded
    activate activate succeeded
    ");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # The worker stops; another one begins anew.
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # Release 1 is live.
    ");
}

#[tokio::test]
async fn run_that_is_handed_back_after_the_switch_goes_on_with_the_live_release() {
    let rig = waiting_in("after", &[]).await;
    with_a_previous_release(&rig).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    running.hand_back().await;
    assert_eq!(rig.row(id).await.status, Status::Queued);
    assert_eq!(rig.current().as_deref(), Some("releases/2"));
    fs::write(rig.path("go"), "").unwrap();
    let row = rig.finished(id).await;
    assert_eq!((row.status, row.attempt), (Status::Succeeded, 1));
    assert_eq!(rig.releases().await, "1 kept, 2 live");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 2 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # Release 2 is live.
    # The worker stops; another one begins anew.
    # Deployment 2 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # The release is live already, from an earlier run.
    ");
}

#[tokio::test]
async fn stopping_worker_lets_its_runs_come_to_their_end() {
    let rig = waiting_in("build", &[]).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    let waiting = rig.deploy().await;
    let drained = tokio::spawn(running.drain());
    fs::write(rig.path("go"), "").unwrap();
    drained.await.unwrap();
    assert_eq!(rig.row(id).await.status, Status::Succeeded);
    assert_eq!(rig.row(waiting).await.status, Status::Queued);
}

#[tokio::test]
async fn panic_in_a_run_fails_that_run_and_nothing_else() {
    let mut rig = Rig::with(
        "build:\n  - { name: wait, run: 'sleep 300' }\n",
        &[("QUEUE__RETRY_ATTEMPTS", "1")],
    )
    .await;
    let bus = PanickingBus::around(Arc::clone(&rig.ctx.bus));
    rig.ctx.bus = Arc::<PanickingBus>::clone(&bus);
    let (worker, id) = (rig.worker(), rig.deploy().await);
    // The run's first word about itself comes before it begins, the second with its steps.
    bus.panic_at(2);
    worker.once().await;
    let row = rig.row(id).await;
    let text = "Slipway itself failed during the run.";
    assert_eq!(reason(&row), (Status::Failed, "internal", text));
    rig.assert_no_run_folder();

    rig.pipeline("build:\n  - { name: fine, run: 'true' }\n")
        .await;
    let id = rig.deploy().await;
    assert_eq!(worker.finish(&rig, id).await.status, Status::Succeeded);
}

#[tokio::test]
async fn worker_removes_the_folders_of_runs_that_are_over_when_it_starts() {
    let rig = waiting_in("build", &[]).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    let runs = rig.path("worker/runs");
    for left in ["99-1", "1-0"] {
        fs::create_dir_all(runs.join(left).join("source")).unwrap();
    }
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    slipway_worker::start::serve(&rig.ctx, guard_program(), stop.clone(), stop)
        .await
        .unwrap();
    let left: Vec<_> = fs::read_dir(&runs).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].file_name(), "1-1");
    fs::write(rig.path("go"), "").unwrap();
    assert_eq!(rig.end_of(id).await.status, Status::Succeeded);
    running.drain().await;
}
