//! Another worker takes over what a worker leaves behind, whether it is killed or told to stop.

use serde_json::{Value, json};
use slipway_testkit::{RunningProgram, eventually};

use crate::rig::{Client, DEADLINE, Installation, Redis, records};

/// The first run goes on for ever, with a process that has left its group, and the second ends.
/// Each takes the target's own lock, which none of the other's processes may still hold.
const SCRIPT: &str = r#"
exec 9>"$PLACE/lock"
flock -n 9 || { touch "$PLACE/overlap"; exit 1; }
runs=$(wc -l <"$PLACE/runs" || echo 0)
echo "run $((runs + 1))"
linger='while [ -d "$PLACE" ]; do sleep 0.05; done'
[ "$runs" -gt 0 ] || setsid sh -c "$linger" &
echo "$PPID $$" >>"$PLACE/runs"
[ "$runs" -gt 0 ] || eval "$linger"
"#;

#[tokio::test]
async fn killed_worker_is_replaced_and_the_loss_costs_no_attempt() {
    let installation =
        Installation::migrated(&Redis::shared()).set("SLIPWAY__QUEUE__LEASE_MS", "3000");
    let (client, api, id) = start_with_a_deployment(&installation).await;
    let [mut runs_it, other] = two_workers(&installation).await;
    until_logged(&client, id, "run 1").await;
    runs_it.kill();

    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["attempt"], &ended["interruptions"]),
        (&json!(1), &json!(1)),
        "{ended}"
    );
    assert_eq!(step_statuses(&ended), json!(["lost", "succeeded"]));
    let log = client.log(id).await;
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("run "))
        .collect();
    assert_eq!(said, ["run 1", "run 2"], "{log}");
    assert_taken_over(&installation, &other);
    drop(api);
}

#[tokio::test]
async fn worker_that_may_not_wait_hands_its_deployment_back() {
    let patience = "SLIPWAY__WORKER__DRAIN_TIMEOUT_SECONDS";
    let installation = Installation::migrated(&Redis::shared()).set(patience, "1");
    let (client, api, id) = start_with_a_deployment(&installation).await;
    let [mut runs_it, other] = two_workers(&installation).await;
    runs_it.terminate();
    assert!(runs_it.wait(DEADLINE).success(), "{}", runs_it.logs());

    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["attempt"], &ended["interruptions"]),
        (&json!(1), &json!(0)),
        "{ended}"
    );
    assert_eq!(step_statuses(&ended), json!(["cancelled", "succeeded"]));
    assert_taken_over(&installation, &other);
    drop(api);
}

/// The other worker did the second run, and only once the first was over.
fn assert_taken_over(installation: &Installation, other: &RunningProgram) {
    let runs = records(&installation.path("runs"));
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs[1][0], other.id().to_string());
    assert!(!installation.path("overlap").exists());
}

async fn until_logged(client: &Client, id: i64, wanted: &str) {
    eventually(DEADLINE, async || {
        let log = client.log(id).await;
        if log.lines().any(|line| line == wanted) {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
}

async fn start_with_a_deployment(installation: &Installation) -> (Client, RunningProgram, i64) {
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

/// Two workers: the one that runs the deployment, and the other.
async fn two_workers(installation: &Installation) -> [RunningProgram; 2] {
    let workers = [installation.start_worker(), installation.start_worker()];
    let runner = eventually(DEADLINE, async || {
        let runs = records(&installation.path("runs"));
        runs.first().map(|run| run[0].clone()).ok_or("no run yet")
    })
    .await;
    let [first, second] = workers;
    if first.id().to_string() == runner {
        [first, second]
    } else {
        [second, first]
    }
}

fn step_statuses(deployment: &Value) -> Value {
    let steps = deployment["steps"].as_array().unwrap().iter();
    steps.map(|step| step["status"].clone()).collect()
}
