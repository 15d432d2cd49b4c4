//! A Redis that answers and takes no write, or does not answer: requests are refused soon, accepted
//! again soon after, and nothing that was accepted is lost. No process is started again.

use std::{process::Command, time::Duration};

use slipway_testkit::{RedisServer, RunningProgram, eventually};

use crate::rig::{Answer, Client, Installation, Redis, records};

/// How soon a fault has to be noticed.
const NOTICE: Duration = Duration::from_secs(3);
/// How soon everything has to work again.
const BACK: Duration = Duration::from_secs(10);
const SCRIPT: &str = r#"echo "$SLIPWAY_DEPLOYMENT" >>"$PLACE/runs""#;

/// A fault that can be put right again.
struct Fault {
    name: &'static str,
    cause: fn(&RedisServer),
    mend: fn(&RedisServer),
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "out of memory",
        cause: |redis| tell(redis, &["config", "set", "maxmemory", "1"]),
        mend: |redis| tell(redis, &["config", "set", "maxmemory", "0"]),
    },
    Fault {
        name: "read-only",
        // A replica of a server that is not there.
        cause: |redis| tell(redis, &["replicaof", "127.0.0.1", "1"]),
        mend: |redis| tell(redis, &["replicaof", "no", "one"]),
    },
    Fault {
        name: "MISCONF",
        // Nobody can save there, and a server that cannot save takes no write.
        cause: |redis| {
            tell(redis, &["config", "set", "dir", "/proc"]);
            tell(redis, &["config", "set", "save", "3600 1"]);
            tell(redis, &["bgsave"]);
        },
        mend: |redis| tell(redis, &["config", "set", "save", ""]),
    },
    Fault {
        name: "frozen",
        cause: RedisServer::freeze,
        mend: RedisServer::thaw,
    },
];

fn tell(redis: &RedisServer, words: &[&str]) {
    let told = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &redis.port().to_string(), "-e"])
        .args(words)
        .output()
        .expect("redis-cli is installed");
    assert!(told.status.success(), "{words:?}: {told:?}");
}

async fn fleet(redis: &RedisServer) -> (Installation, Client, Vec<RunningProgram>) {
    let installation = Installation::migrated(&Redis::own(redis));
    let api = installation.start_api();
    let client = api.client().await;
    let processes = vec![installation.start_worker(), api.program];
    client
        .create_project("shop", &installation.pipeline(SCRIPT))
        .await;
    for target in ["one", "two", "three"] {
        client
            .create_target("shop", target, &installation.path(target))
            .await;
    }
    (installation, client, processes)
}

async fn assert_each_ran_once(installation: &Installation, client: &Client, ids: &[i64]) {
    for id in ids {
        let ended = client.ended(*id).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    let runs = records(&installation.path("runs"));
    let mut ran: Vec<i64> = runs.iter().map(|run| run[0].parse().unwrap()).collect();
    ran.sort_unstable();
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    assert_eq!(ran, ids, "each ran exactly once");
}

/// Asks until the answer is that there is no queue. Answers what was accepted before.
async fn until_refused(client: &Client, fault: &str) -> Vec<i64> {
    let mut accepted = Vec::new();
    eventually(NOTICE, async || {
        let answer = client.request_deployment("shop", "two").await;
        if answer.status == 503 {
            return Ok(());
        }
        let answer = answer.expect(202);
        accepted.push(id(&answer));
        Err((fault, answer))
    })
    .await;
    accepted
}

async fn until_accepted(client: &Client, target: &str) -> i64 {
    eventually(BACK, async || {
        let answer = client.request_deployment("shop", target).await;
        let is_accepted = answer.status == 202;
        if is_accepted {
            Ok(id(&answer))
        } else {
            Err(answer)
        }
    })
    .await
}

fn id(answer: &Answer) -> i64 {
    answer.json()["id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_redis_that_takes_no_write_is_noticed_and_forgiven() {
    let redis = RedisServer::start_with(&["--enable-protected-configs", "yes"]);
    let (installation, client, _processes) = fleet(&redis).await;
    let mut accepted = vec![client.deploy("shop", "one").await];
    for fault in FAULTS {
        (fault.cause)(&redis);
        accepted.extend(until_refused(&client, fault.name).await);
        client.get("/health/live").await.expect(200);
        client.get("/api/v1/deployments").await.expect(200);

        (fault.mend)(&redis);
        let id = until_accepted(&client, "three").await;
        accepted.push(id);
        client.until(id, "succeeded").await;
    }
    assert_each_ran_once(&installation, &client, &accepted).await;
}

#[tokio::test]
async fn a_redis_that_is_wiped_under_load_is_filled_again() {
    let redis = RedisServer::start();
    let (installation, client, _processes) = fleet(&redis).await;
    let mut accepted = Vec::new();
    for round in 0..20 {
        for target in ["one", "two", "three"] {
            // While the index is filled again a request may be refused, never lost.
            accepted.push(until_accepted(&client, target).await);
        }
        if round % 4 == 3 {
            tell(&redis, &["flushall"]);
        }
    }
    assert_each_ran_once(&installation, &client, &accepted).await;
}
