//! What was done is not done again, although the worker that did it died before it could say so.

use std::fs;

use serde_json::json;
use slipway_testkit::RunningProgram;

use crate::rig::{DEADLINE, Installation, Redis};

/// A worker that dies when it comes to this point for the first time.
fn doomed_worker(installation: &Installation, point: &str) -> RunningProgram {
    let program = installation.program("slipway-worker");
    let program = program.env("SLIPWAY_FAIL_POINT", point).start();
    let is_ready = |line: &str| line.contains("ready for deployments").then_some(());
    program.wait_for_line(DEADLINE, is_ready);
    program
}

/// Runs one deployment of two commands with a worker that dies at this point, and then with
/// another. Answers how often each command ran.
async fn runs_when_lost_at(point: &str) -> String {
    let installation =
        Installation::migrated(&Redis::shared()).set("SLIPWAY__QUEUE__LEASE_MS", "1000");
    let api = installation.start_api();
    let client = api.client().await;
    let place = installation.folder().display();
    let pipeline = format!(
        "after:\n  - {{ name: a, run: echo a >> {place}/ran }}\n  - {{ name: b, run: echo b >> {place}/ran }}\n"
    );
    client.create_project("shop", &pipeline).await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    let mut first = doomed_worker(&installation, point);
    let id = client.deploy("shop", "web").await;
    assert!(!first.wait(DEADLINE).success(), "{}", first.logs());
    let _second = installation.start_worker();
    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["attempt"], &ended["interruptions"]),
        (&json!(1), &json!(1)),
        "{ended}"
    );
    fs::read_to_string(installation.path("ran")).unwrap()
}

/// How the last command ended is written together with how the deployment did.
#[tokio::test]
async fn deployment_whose_end_was_not_written_is_not_run_again() {
    assert_eq!(runs_when_lost_at("finish.before_bundle").await, "a\nb\n");
}

#[tokio::test]
async fn commands_that_were_cut_off_in_between_are_run_again() {
    let ran = runs_when_lost_at("run.before_step_ends").await;
    assert_eq!(ran, "a\na\nb\n");
}
