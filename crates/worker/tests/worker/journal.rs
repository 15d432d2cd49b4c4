//! The log of a run: bounded, complete, and no reason to hang.

use std::time::Duration;

use slipway_core::{deployment::status::Status, ports::Event};
use slipway_testkit::eventually;

use crate::{
    process::until_gone,
    rig::{DEADLINE, Rig},
};

#[tokio::test]
async fn log_that_reaches_its_limit_says_so_and_the_step_goes_on() {
    let rig = Rig::with(
        "build:\n  - { name: lines, run: 'seq 100000; touch done' }\n  - { name: next, run: 'ls done' }\n",
        &[("WORKER__LOG_LIMIT_BYTES", "4096")],
    )
    .await;
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Succeeded);
    let log = rig.log(row.id).await;
    let limit = "# The log has reached its limit; what follows is not kept.";
    assert_eq!(log.lines().filter(|line| *line == limit).count(), 1);
    let kept: usize = log
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.len() + 1)
        .sum();
    assert!((4096..4106).contains(&kept), "{kept}");
    assert!(log.ends_with("# Release 1 is live.\n"), "{log}");
}

#[tokio::test]
async fn long_output_is_kept_line_by_line() {
    let rig = Rig::new("build:\n  - { name: lines, run: 'seq 50000' }\n").await;
    let row = rig.deployed().await;
    let log = rig.log(row.id).await;
    let printed: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
    let expected: Vec<String> = (1..=50_000).map(|number| number.to_string()).collect();
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn unfinished_line_is_shown_while_the_step_waits() {
    let rig = Rig::new(
        "build:\n  - name: ask\n    run: printf 'continue? '; until [ -e \"$AT/go\" ]; do sleep 0.02; done; echo yes\n",
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    let id = rig.deploy().await;
    let running = rig.start();
    eventually(DEADLINE, async || {
        let log = rig.log(id).await;
        if log.ends_with("\ncontinue? \n") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    std::fs::write(rig.path("go"), "").unwrap();
    rig.end_of(id).await;
    running.drain().await;
    assert!(rig.log(id).await.contains("\ncontinue? \nyes\n"));
}

#[tokio::test]
async fn cancel_stops_the_step_although_its_log_cannot_be_stored_and_no_line_is_lost() {
    // More lines than are stored at once, and fewer than a pipe holds.
    let rig = Rig::new(
        "build:\n  - name: count\n    run: echo $$ > \"$AT/pid\"; until [ -e \"$AT/go\" ]; do sleep 0.02; done; seq 9000; touch \"$AT/printed\"; sleep 300\n",
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    let id = rig.deploy().await;
    let running = rig.start();
    let pid = rig.until_pid().await;
    rig.cancel_is_asked_for(id).await;
    // Whoever holds the only writing connection keeps everybody else from it.
    let blocked = rig.ctx.db.begin().await.unwrap();
    std::fs::write(rig.path("go"), "").unwrap();
    rig.until_exists("printed").await;
    rig.ctx.bus.publish(Event::Cancel(id)).await;
    until_gone(&pid).await;
    // pause: the outage outlasts the patience with a stopped step's output
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.row(id).await.status, Status::Running);
    drop(blocked);
    assert_eq!(rig.end_of(id).await.status, Status::Cancelled);
    running.drain().await;
    let log = rig.log(id).await;
    let printed: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
    let expected: Vec<String> = (1..=printed.len())
        .map(|number| number.to_string())
        .collect();
    // Output that is not read to its end may break off within its last line.
    let (last, whole) = printed.split_last().unwrap();
    assert_eq!(whole, &expected[..whole.len()]);
    assert!(expected[whole.len()].starts_with(last), "{last}");
    assert!(
        !printed.is_empty() && log.ends_with("# Cancelled.\n"),
        "{log}"
    );
}
