//! Stopping a deployment stops everything that it has started.

use serde_json::json;
use slipway_testkit::eventually;

use crate::rig::{DEADLINE, Installation, Process, Redis, records};

/// Four processes: the step, one in its group, one that does not want to end, and one that has
/// left the group for a session of its own.
const SCRIPT: &str = r#"
echo $$ >>"$PLACE/pids"
linger='while [ -d "$PLACE" ]; do sleep 0.1; done'
sh -c "echo \$\$ >>'$PLACE/pids'; $linger" &
sh -c "trap '' TERM; echo \$\$ >>'$PLACE/pids'; $linger" &
setsid sh -c "trap '' TERM; echo \$\$ >>'$PLACE/pids'; $linger" &
wait
"#;

#[tokio::test]
async fn cancelled_deployment_leaves_no_process_behind() {
    let installation = Installation::migrated(&Redis::shared());
    let api = installation.start_api();
    let _worker = installation.start_worker();
    let client = api.client().await;
    let pipeline = installation.pipeline(SCRIPT);
    client.create_project("shop", &pipeline).await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    let id = client.deploy("shop", "web").await;
    let processes = eventually(DEADLINE, async || {
        let pids = records(&installation.path("pids"));
        let ids = pids.iter().map(|words| words[0].parse().unwrap());
        let processes: Vec<Process> = ids.filter_map(Process::find).collect();
        if processes.len() == 4 {
            Ok(processes)
        } else {
            Err(pids)
        }
    })
    .await;

    let cancel = format!("/api/v1/deployments/{id}/cancel");
    for _ in 0..2 {
        let answer = client.post(&cancel, &json!({})).await.expect(200).json();
        assert_ne!(answer["cancel_requested_at"], json!(null), "{answer}");
    }

    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "cancelled", "{ended}");
    assert_eq!(ended["steps"][0]["status"], "cancelled", "{ended}");
    let alive: Vec<&Process> = processes
        .iter()
        .filter(|process| process.is_alive())
        .collect();
    assert!(alive.is_empty(), "{alive:?}");
    assert_eq!(
        records(&installation.path("pids")).len(),
        4,
        "it ran only once"
    );
}
