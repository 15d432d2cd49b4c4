//! What a worker has started ends with it, or before anybody else begins, whatever becomes of the
//! worker itself.

use std::fs;

use serde_json::{Value, json};
use slipway_testkit::eventually;

use crate::rig::{Client, DEADLINE, Installation, Process, Redis, records};

/// The first run leaves processes in every corner and goes on for ever; the next one looks whether
/// any of them still lives. Each line of `pids` is one of them.
const SCRIPT: &str = r#"
trap '' TERM INT HUP
if [ -e "$PLACE/pids" ]; then
  while read -r pid; do
    state=$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null || echo gone)
    case $state in gone|Z|X) ;; *) echo "$pid $state" >>"$PLACE/overlap" ;; esac
  done <"$PLACE/pids"
  exit 0
fi
linger='echo $$ >>"$PLACE/pids"; while [ -d "$PLACE" ]; do sleep 0.05; done'
sh -c "$linger" &
setsid sh -c "$linger" &
env -i PLACE="$PLACE" /bin/sh -c "$linger" &
echo "$PPID" >"$PLACE/runs_it"
eval "$linger"
"#;

/// An installation with two workers of which the first one runs a deployment that leaves processes
/// everywhere, and those processes.
async fn running(
    lease: &str,
) -> (
    Installation,
    Client,
    i64,
    [slipway_testkit::RunningProgram; 3],
    Vec<Process>,
) {
    let installation =
        Installation::migrated(&Redis::shared()).set("SLIPWAY__QUEUE__LEASE_MS", lease);
    let api = installation.start_api();
    let client = api.client().await;
    let pipeline = installation.pipeline(SCRIPT);
    client.create_project("shop", &pipeline).await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    let workers = [installation.start_worker(), installation.start_worker()];
    let id = client.deploy("shop", "web").await;
    let pids = eventually(DEADLINE, async || {
        let pids = records(&installation.path("pids"));
        if pids.len() == 4 { Ok(pids) } else { Err(pids) }
    })
    .await;
    let processes = pids
        .iter()
        .filter_map(|line| Process::find(line[0].parse().ok()?));
    let processes: Vec<Process> = processes.collect();
    assert_eq!(processes.len(), 4, "{pids:?}");
    let runner = fs::read_to_string(installation.path("runs_it")).unwrap();
    let [first, second] = workers;
    let (runs_it, other) = if first.id().to_string() == runner.trim() {
        (first, second)
    } else {
        (second, first)
    };
    (
        installation,
        client,
        id,
        [runs_it, other, api.program],
        processes,
    )
}

fn assert_taken_over(installation: &Installation, ended: &Value) {
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["attempt"], &ended["interruptions"]),
        (&json!(1), &json!(1)),
        "{ended}"
    );
    assert_eq!(
        fs::read_to_string(installation.path("overlap")).unwrap_or_default(),
        ""
    );
}

#[tokio::test]
async fn killed_worker_takes_everything_with_it_at_once() {
    // Nothing but the guard acts within this lease.
    let (_installation, _client, _id, [mut runs_it, _other, _api], processes) =
        running("600000").await;
    runs_it.kill();
    for process in processes {
        eventually(DEADLINE, async || {
            if process.is_alive() {
                Err(&process)
            } else {
                Ok(())
            }
        })
        .await;
    }
}

#[tokio::test]
async fn frozen_worker_runs_nothing_any_more_when_its_successor_begins() {
    let (installation, client, id, [runs_it, _other, _api], processes) = running("3000").await;
    runs_it.freeze();
    let ended = client.ended(id).await;
    assert_taken_over(&installation, &ended);
    assert!(processes.iter().all(|process| !process.is_alive()));
    let log = client.log(id).await;
    runs_it.thaw();
    // It has noticed by the time it has run another one.
    runs_it.wait_for_line(DEADLINE, |line| {
        line.contains("a run was lost and has stopped")
            .then_some(())
    });
    assert_eq!(client.deployment(id).await, ended);
    assert_eq!(client.log(id).await, log);
}
