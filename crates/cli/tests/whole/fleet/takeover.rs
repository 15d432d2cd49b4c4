//! Runs of a worker that is certainly dead go on at once, without waiting for their leases.

use std::fs;

use serde_json::{Value, json};
use slipway_testkit::eventually;

use crate::rig::{Client, DEADLINE, Installation, Redis, records};

/// The first run goes on for ever, and the second ends.
const SCRIPT: &str = r#"
runs=$(wc -l <"$PLACE/runs" || echo 0)
echo "$PPID" >>"$PLACE/runs"
[ "$runs" -gt 0 ] || while [ -d "$PLACE" ]; do sleep 0.05; done
"#;

/// Longer than the test waits for anything.
const LEASE_MS: &str = "90000";

async fn running(installation: &Installation) -> (Client, slipway_testkit::RunningProgram, i64) {
    let api = installation.start_api();
    let client = api.client().await;
    client
        .create_project("shop", &installation.pipeline(SCRIPT))
        .await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    let id = client.deploy("shop", "web").await;
    (client, api.program, id)
}

/// Waits for the first run and answers which process runs it.
async fn first_run(installation: &Installation) -> String {
    eventually(DEADLINE, async || {
        let runs = records(&installation.path("runs"));
        runs.first().map(|run| run[0].clone()).ok_or("no run yet")
    })
    .await
}

fn assert_interrupted_once(ended: &Value) {
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["attempt"], &ended["interruptions"]),
        (&json!(1), &json!(1)),
        "{ended}"
    );
}

fn files_of_workers(installation: &Installation) -> usize {
    fs::read_dir(installation.path("worker/instances")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn worker_that_is_started_again_takes_its_runs_back() {
    let installation =
        Installation::migrated(&Redis::shared()).set("SLIPWAY__QUEUE__LEASE_MS", LEASE_MS);
    let (client, _api, id) = running(&installation).await;
    let mut first = installation.start_worker();
    first_run(&installation).await;
    first.kill();
    let mut second = installation.start_worker();
    assert_interrupted_once(&client.ended(id).await);
    assert_eq!(
        files_of_workers(&installation),
        1,
        "only that of the one that lives"
    );
    second.terminate();
    assert!(second.wait(DEADLINE).success(), "{}", second.logs());
    assert_eq!(files_of_workers(&installation), 0);
}

#[tokio::test]
async fn neighbour_takes_over_from_a_worker_that_was_killed() {
    let installation =
        Installation::migrated(&Redis::shared()).set("SLIPWAY__QUEUE__LEASE_MS", LEASE_MS);
    let (client, _api, id) = running(&installation).await;
    let mut workers = [installation.start_worker(), installation.start_worker()];
    let runner = first_run(&installation).await;
    let runs_it = workers
        .iter_mut()
        .find(|worker| worker.id().to_string() == runner);
    runs_it.expect("one of the two runs it").kill();
    assert_interrupted_once(&client.ended(id).await);
}
