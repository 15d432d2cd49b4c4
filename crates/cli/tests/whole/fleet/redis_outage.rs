//! Redis goes away and comes back empty, and nothing that was accepted is lost.

use std::{fs, time::Duration};

use serde_json::json;
use slipway_testkit::{RedisServer, eventually};

use crate::rig::{Client, DEADLINE, Installation, Redis, records};

/// How soon an outage has to be noticed.
const NOTICE: Duration = Duration::from_secs(3);
/// Waits for a file where the target says so, and writes down that it ran.
const SCRIPT: &str = r#"
while [ "$SLIPWAY_TARGET" = slow ] && [ -d "$PLACE" ] && [ ! -e "$PLACE/go-on" ]; do sleep 0.05; done
echo "$SLIPWAY_DEPLOYMENT" >>"$PLACE/runs"
"#;

#[tokio::test]
async fn deployments_survive_a_redis_that_loses_everything() {
    let mut redis = RedisServer::start();
    let installation = Installation::migrated(&Redis::own(&redis));
    let api = installation.start_api();
    let worker = installation.start_worker();
    let client = api.client().await;
    client
        .create_project("shop", &installation.pipeline(SCRIPT))
        .await;
    for target in ["slow", "quick"] {
        client
            .create_target("shop", target, &installation.path(target))
            .await;
    }
    let running = client.deploy("shop", "slow").await;
    client.until(running, "running").await;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        accepted.push(client.deploy("shop", "slow").await);
    }
    client.get("/health/ready").await.expect(200);

    redis.stop();
    accepted.extend(until_refused(&client).await);
    assert_reads_work(&client, running).await;
    fs::write(installation.path("go-on"), "").unwrap();
    let ended = client.until(running, "succeeded").await;
    assert_eq!(
        (&ended["attempt"], &ended["interruptions"]),
        (&json!(1), &json!(0)),
        "{ended}"
    );

    redis.restart();
    eventually(DEADLINE, async || {
        let ready = client.get("/health/ready").await;
        if ready.status == 200 {
            Ok(())
        } else {
            Err(ready)
        }
    })
    .await;
    accepted.push(client.deploy("shop", "quick").await);
    for id in &accepted {
        let ended = client.ended(*id).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    accepted.push(running);
    accepted.sort_unstable();
    let runs = records(&installation.path("runs"));
    let mut ran: Vec<i64> = runs.iter().map(|run| run[0].parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, accepted, "each ran exactly once");
    for program in [api.program, worker] {
        program.terminate();
        let mut program = program;
        assert!(program.wait(DEADLINE).success(), "{}", program.logs());
    }
}

/// Asks until the answer is that there is no queue. Answers what was accepted before.
async fn until_refused(client: &Client) -> Vec<i64> {
    let mut accepted = Vec::new();
    let refusal = eventually(NOTICE, async || {
        let answer = client.request_deployment("shop", "quick").await;
        if answer.status == 503 {
            return Ok(answer);
        }
        let answer = answer.expect(202);
        accepted.push(answer.json()["id"].as_i64().unwrap());
        Err(answer)
    })
    .await;
    assert_eq!(refusal.json()["code"], "queue_unavailable", "{refusal:?}");
    let seconds = refusal
        .header("Retry-After")
        .and_then(|text| text.parse::<u32>().ok());
    assert!(seconds > Some(0), "{refusal:?}");
    accepted
}

/// Whatever does not need the queue goes on without it.
async fn assert_reads_work(client: &Client, id: i64) {
    for path in ["projects", "deployments", "deployments?status=queued", "me"] {
        client.get(&format!("/api/v1/{path}")).await.expect(200);
    }
    client.log(id).await;
    client.get("/health/live").await.expect(200);
    let ready = client.get("/health/ready").await.expect(503).json();
    assert_eq!(ready["queue"], "down", "{ready}");
    assert_eq!(ready["database"], "up", "{ready}");
}
