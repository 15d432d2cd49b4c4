//! Two hundred deployments on twenty targets: the step itself records what happened.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use crate::rig::{Client, Installation, Redis, records};

const PROJECT: &str = "shop";
const TARGETS: usize = 20;
const DEPLOYMENTS: usize = 200;
const CLIENTS: usize = 8;

/// Takes the target's own lock, which nobody else may hold, and writes down who ran when.
const SCRIPT: &str = r#"
exec 9>"$PLACE/$SLIPWAY_TARGET.lock"
flock -n 9 || { echo "$SLIPWAY_TARGET" >>"$PLACE/overlaps"; exit 1; }
started=$(date +%s%N)
sleep 0.02
echo "$SLIPWAY_TARGET $SLIPWAY_DEPLOYMENT $PPID $started $(date +%s%N)" >>"$PLACE/records"
"#;

/// One run as its step saw it.
#[derive(Debug)]
struct Run {
    deployment: i64,
    started_ns: u64,
    ended_ns: u64,
}

#[tokio::test]
async fn all_deployments_succeed_in_order_and_never_two_at_once_on_a_target() {
    let installation = Installation::new(&Redis::shared());
    for program in ["slipway-api", "slipway-worker"] {
        let refused = installation.program(program).run();
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{program}: {why}");
        assert!(why.contains("run `slipway migrate`"), "{program}: {why}");
    }
    installation.migrate();
    let api = installation.start_api();
    let workers = [installation.start_worker(), installation.start_worker()];
    let client = api.client().await;
    let pipeline = installation.pipeline(SCRIPT);
    client.create_project(PROJECT, &pipeline).await;
    for target in 0..TARGETS {
        let (slug, folder) = (slug(target), installation.path(&slug(target)));
        client.create_target(PROJECT, &slug, &folder).await;
    }

    let ids = deploy_from_many_clients(&client).await;
    assert_eq!(ids.len(), DEPLOYMENTS);
    for id in &ids {
        let ended = client.ended(*id).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        assert_eq!(ended["attempt"], 1, "{ended}");
    }

    assert!(!installation.path("overlaps").exists());
    let records = records(&installation.path("records"));
    assert_eq!(records.len(), DEPLOYMENTS);
    let runners: BTreeSet<&str> = records.iter().map(|record| record[2].as_str()).collect();
    let started = workers.each_ref().map(|worker| worker.id().to_string());
    assert_eq!(runners, started.iter().map(String::as_str).collect());
    check_order(&records);
}

fn slug(target: usize) -> String {
    format!("host-{target}")
}

/// Every client takes its turns at all targets, so that requests for one target collide.
async fn deploy_from_many_clients(client: &Client) -> BTreeSet<i64> {
    let mut clients = JoinSet::new();
    for offset in 0..CLIENTS {
        let client = client.clone();
        clients.spawn(async move {
            let mut ids = Vec::new();
            for number in (offset..DEPLOYMENTS).step_by(CLIENTS) {
                ids.push(client.deploy(PROJECT, &slug(number % TARGETS)).await);
            }
            ids
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

fn check_order(records: &[Vec<String>]) {
    let mut targets: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for record in records {
        targets.entry(&record[0]).or_default().push(Run {
            deployment: record[1].parse().unwrap(),
            started_ns: record[3].parse().unwrap(),
            ended_ns: record[4].parse().unwrap(),
        });
    }
    assert_eq!(targets.len(), TARGETS);
    for (target, mut runs) in targets {
        assert_eq!(runs.len(), DEPLOYMENTS / TARGETS, "{target}");
        runs.sort_by_key(|run| run.started_ns);
        for pair in runs.windows(2) {
            assert!(pair[0].ended_ns <= pair[1].started_ns, "{target}: {pair:?}");
            assert!(
                pair[0].deployment < pair[1].deployment,
                "{target}: {pair:?}"
            );
        }
    }
}
