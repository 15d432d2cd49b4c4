//! Failed runs are tried again after growing waits, and only so often.

use serde_json::{Value, json};

use crate::rig::{Installation, Redis, records};

/// Fails twice and works then; on the target `never` it goes on failing.
const SCRIPT: &str = r#"
echo "$SLIPWAY_TARGET $(date +%s%N)" >>"$PLACE/runs"
runs=$(grep -c "^$SLIPWAY_TARGET " "$PLACE/runs")
if [ "$runs" -lt 3 ] || [ "$SLIPWAY_TARGET" = never ]; then exit 7; fi
"#;

const SECOND_NS: u64 = 1_000_000_000;

#[tokio::test]
async fn failing_deployment_is_tried_three_times_with_the_configured_waits() {
    let installation = Installation::migrated(&Redis::shared());
    let api = installation.start_api();
    let _worker = installation.start_worker();
    let client = api.client().await;
    let pipeline = installation.pipeline(SCRIPT);
    client.create_project("shop", &pipeline).await;
    let mut deployments = Vec::new();
    for target in ["third-time", "never"] {
        let folder = installation.path(target);
        client.create_target("shop", target, &folder).await;
        deployments.push(client.deploy("shop", target).await);
    }

    let recovered = client.ended(deployments[0]).await;
    assert_eq!(recovered["status"], "succeeded", "{recovered}");
    assert_eq!(recovered["attempt"], 3, "{recovered}");
    assert_eq!(recovered["reason"], Value::Null, "{recovered}");
    assert_eq!(
        steps(&recovered),
        json!([[1, "failed", 7], [2, "failed", 7], [3, "succeeded", 0]])
    );

    let failed = client.ended(deployments[1]).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(failed["attempt"], 3, "{failed}");
    assert_eq!(failed["reason"], "step_failed", "{failed}");
    assert_eq!(
        steps(&failed),
        json!([[1, "failed", 7], [2, "failed", 7], [3, "failed", 7]])
    );

    let runs = records(&installation.path("runs"));
    for target in ["third-time", "never"] {
        let own = runs.iter().filter(|run| run[0] == target);
        let starts: Vec<u64> = own.map(|run| run[1].parse().unwrap()).collect();
        let waits: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits.len(), 2, "{target}: {starts:?}");
        assert!(waits[0] >= SECOND_NS, "{target}: {waits:?}");
        assert!(waits[1] >= 5 * SECOND_NS, "{target}: {waits:?}");
    }
}

fn steps(deployment: &Value) -> Value {
    let steps = deployment["steps"].as_array().unwrap().iter();
    steps
        .map(|step| json!([step["attempt"], step["status"], step["exit_code"]]))
        .collect()
}
