//! Workers that are told to stop: what they run comes to its end or is handed back, and either way
//! it costs the deployment nothing.

use std::fs::{self, File};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use slipway_testkit::{GitRepo, RunningProgram, eventually};

use crate::rig::{Api, Client, DEADLINE, Installation, Redis, records};

/// A step of the first run that ends when it is asked to, and says so; the next run does not wait.
const WAIT: &str = "trap 'echo asked >> $PLACE/asked; exit 0' TERM; echo begun >> $PLACE/begun; \
    [ $(wc -l < $PLACE/begun) -gt 1 ] || while [ -d $PLACE ]; do sleep 0.02; done";

/// An installation with a project that has a repository.
async fn site(pipeline: &str) -> (Installation, Api, Client, GitRepo) {
    let repo = GitRepo::new();
    repo.commit_file("index.html", "one\n");
    let installation = Installation::migrated(&Redis::shared()).set(
        "SLIPWAY__REPOSITORIES__LOCAL_PATHS",
        repo.path().parent().unwrap().display().to_string(),
    );
    let api = installation.start_api();
    let client = api.client().await;
    let body = json!({ "slug": "shop", "repository": repo.path() });
    client.post("/api/v1/projects", &body).await.expect(201);
    let env = format!("env: {{ PLACE: {} }}\n", installation.folder().display());
    client
        .set_pipeline("shop", &format!("{env}{pipeline}"))
        .await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    (installation, api, client, repo)
}

async fn until_begun(installation: &Installation) {
    eventually(DEADLINE, async || {
        let begun = records(&installation.path("begun"));
        if begun.is_empty() {
            Err("no run yet")
        } else {
            Ok(())
        }
    })
    .await;
}

/// Asks twice: once to stop, once to stop now.
fn stop_now(worker: &RunningProgram) {
    worker.terminate();
    worker.wait_for_line(DEADLINE, |line| {
        line.contains("waiting for running deployments")
            .then_some(())
    });
    worker.terminate();
}

fn assert_uncharged(ended: &Value) {
    assert_eq!(
        (&ended["status"], &ended["attempt"], &ended["interruptions"]),
        (&json!("succeeded"), &json!(1), &json!(0)),
        "{ended}"
    );
}

fn status_of(deployment: &Value, step: &str) -> String {
    let steps = deployment["steps"].as_array().unwrap();
    let named = steps.iter().find(|own| own["name"] == step);
    named.map_or(String::new(), |own| {
        own["status"].as_str().unwrap().to_owned()
    })
}

/// Stops a worker now while it is in the step that waits, and lets another one finish.
async fn stopped_in(phase: &str) -> (Installation, Value) {
    let pipeline = format!("{phase}:\n  - name: wait\n    run: \"{WAIT}\"\nactivate: {{}}\n");
    let (installation, _api, client, _repo) = site(&pipeline).await;
    let mut worker = installation.start_worker();
    let id = client.deploy("shop", "web").await;
    until_begun(&installation).await;
    stop_now(&worker);
    assert!(worker.wait(DEADLINE).success(), "{}", worker.logs());
    assert_eq!(
        records(&installation.path("asked")),
        [["asked"]],
        "it was asked before it was killed"
    );
    let left = client.deployment(id).await;
    assert_eq!(
        (&left["status"], &left["attempt"]),
        (&json!("queued"), &json!(0)),
        "{left}"
    );
    let _other = installation.start_worker();
    let ended = client.ended(id).await;
    (installation, ended)
}

#[tokio::test]
async fn second_request_during_the_build_hands_the_deployment_back() {
    let (installation, ended) = stopped_in("build").await;
    assert_uncharged(&ended);
    assert_eq!(records(&installation.path("begun")).len(), 2);
}

#[tokio::test]
async fn second_request_after_the_switch_hands_the_live_release_on() {
    let (installation, ended) = stopped_in("after").await;
    assert_uncharged(&ended);
    let link = fs::read_link(installation.path("web/current")).unwrap();
    assert_eq!(
        link.to_str(),
        Some(format!("releases/{}", ended["id"]).as_str())
    );
    // The second run leaves alone what is live.
    assert_eq!(records(&installation.path("begun")).len(), 2);
    let kept: Vec<_> = fs::read_dir(installation.path("web/releases"))
        .unwrap()
        .collect();
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn second_request_during_the_switch_lets_it_happen() {
    let hold = "echo begun >> $PLACE/begun; until [ -e $PLACE/go ]; do sleep 0.02; done";
    let pipeline = format!(
        "release:\n  - {{ name: hold, run: \"{hold}\" }}\nafter:\n  - {{ name: mark, run: 'echo run >> $PLACE/after' }}\n"
    );
    let (installation, _api, client, _repo) = site(&pipeline).await;
    let mut worker = installation.start_worker();
    let id = client.deploy("shop", "web").await;
    until_begun(&installation).await;
    let lock = File::open(installation.path("web/.slipway/lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    fs::write(installation.path("go"), "").unwrap();
    eventually(DEADLINE, async || {
        let seen = client.deployment(id).await;
        if status_of(&seen, "activate") == "running" {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    stop_now(&worker);
    drop(lock);
    assert!(worker.wait(DEADLINE).success(), "{}", worker.logs());
    let _other = installation.start_worker();
    let ended = client.ended(id).await;
    assert_uncharged(&ended);
    assert!(installation.path("web/current/index.html").exists());
    assert_eq!(records(&installation.path("after")).len(), 1);
}

/// Restarts of workers while deployments come in.
const RESTARTS: usize = 6;
const TARGETS: usize = 4;

/// Restarts two workers in turn under load; answers every deployment as it ended.
async fn rolling_restart(patience: &str, script: &str) -> Vec<Value> {
    let installation = Installation::migrated(&Redis::shared())
        .set("SLIPWAY__WORKER__DRAIN_TIMEOUT_SECONDS", patience);
    let api = installation.start_api();
    let client = api.client().await;
    client
        .create_project("shop", &installation.pipeline(script))
        .await;
    for target in 0..TARGETS {
        let folder = installation.path(&format!("web{target}"));
        client
            .create_target("shop", &format!("web{target}"), &folder)
            .await;
    }
    let mut workers = [installation.start_worker(), installation.start_worker()];
    let mut ids = Vec::new();
    for restart in 0..RESTARTS {
        for target in 0..TARGETS {
            ids.push(client.deploy("shop", &format!("web{target}")).await);
        }
        // It has something to do when it is told to stop.
        eventually(DEADLINE, async || {
            let path = "/api/v1/deployments?status=running";
            let running = client.get(path).await.expect(200).json();
            if running["items"]
                .as_array()
                .is_some_and(|rows| !rows.is_empty())
            {
                Ok(())
            } else {
                Err(running)
            }
        })
        .await;
        let worker = &mut workers[restart % 2];
        worker.terminate();
        assert!(worker.wait(DEADLINE).success(), "{}", worker.logs());
        *worker = installation.start_worker();
    }
    let mut ended = Vec::new();
    for id in ids {
        ended.push(client.ended(id).await);
    }
    ended
}

#[tokio::test]
async fn rolling_restart_lets_everything_come_to_its_end() {
    let ended = rolling_restart("60", "sleep 0.2").await;
    assert_eq!(ended.len(), RESTARTS * TARGETS);
    ended.iter().for_each(assert_uncharged);
    let runs = |one: &Value| one["steps"].as_array().unwrap().len();
    assert!(ended.iter().all(|one| runs(one) == 1), "nothing ran twice");
}

#[tokio::test]
async fn rolling_restart_without_patience_charges_nobody() {
    let ended = rolling_restart("0", "sleep 0.2").await;
    ended.iter().for_each(assert_uncharged);
}
