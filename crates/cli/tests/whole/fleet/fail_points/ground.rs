//! An installation with one API process and one worker, either of which is replaced by one that
//! aborts, and the means to mislead its index.

use std::{fs, os::unix::process::ExitStatusExt, sync::Arc};

use serde_json::{Value, json};
use slipway_core::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
    ports::{Authority, Entry, JobQueue},
    settings,
};
use slipway_testkit::{GitRepo, RedisServer, RunningProgram, eventually};

use crate::rig::{Api, Client, DEADLINE, Installation, Redis, records};

const ABORTED: i32 = 6;
pub(super) const PROJECT: &str = "shop";
/// It has no repository and gives no values: a claim sees all that its runs need to know.
const PLANNED: &str = "script";

/// Fails once or waits where its target says so, and writes down that it began and ended.
const SCRIPT: &str = r#"
echo "$SLIPWAY_DEPLOYMENT" >>"$PLACE/began"
case "$SLIPWAY_TARGET" in
  wait) while [ -e "$PLACE/hold" ]; do sleep 0.05; done ;;
  fail) mkdir "$PLACE/failed-$SLIPWAY_DEPLOYMENT" 2>/dev/null && exit 1 ;;
esac
echo "$SLIPWAY_DEPLOYMENT" >>"$PLACE/ended"
"#;

pub(super) struct Ground {
    pub(super) installation: Installation,
    pub(super) redis: RedisServer,
    pub(super) client: Client,
    pub(super) queue: Arc<dyn JobQueue>,
    api: Option<Api>,
    worker: Option<RunningProgram>,
    _repo: GitRepo,
}

impl Ground {
    pub(super) async fn new() -> Self {
        let redis = RedisServer::start();
        let repo = GitRepo::new();
        repo.commit_file("page", "hello");
        let installation = Installation::migrated(&Redis::own(&redis))
            .set("SLIPWAY__QUEUE__LEASE_MS", "1500")
            .set("SLIPWAY__QUEUE__RETRY_DELAYS", "2500")
            .set(
                "SLIPWAY__REPOSITORIES__LOCAL_PATHS",
                repo.path().display().to_string(),
            );
        let index = settings::Redis {
            host: "127.0.0.1".to_owned(),
            port: redis.port(),
            username: None,
            password: None,
            password_file: None,
            tls: false,
            ca_file: None,
            database: 0,
            prefix: installation.variable("SLIPWAY__REDIS__PREFIX").to_owned(),
        };
        let queue = slipway_queue::connect(&index).await.unwrap().queue;
        let api = installation.start_api();
        let client = api.client().await;
        let body = json!({"slug": PROJECT, "repository": repo.url()});
        client.post("/api/v1/projects", &body).await.expect(201);
        // Something to build, so that there is a release to switch to.
        let build = "build:\n  - name: build\n    run: touch built\n";
        let pipeline = format!("{build}{}", installation.pipeline(SCRIPT));
        client.set_pipeline(PROJECT, &pipeline).await;
        for target in ["plain", "wait", "fail"] {
            let folder = installation.path(&format!("target-{target}"));
            client.create_target(PROJECT, target, &folder).await;
        }
        let body = json!({ "slug": PLANNED });
        client.post("/api/v1/projects", &body).await.expect(201);
        let pipeline = installation.pipeline(SCRIPT);
        client.set_pipeline(PLANNED, &pipeline).await;
        let folder = installation.path("target-planned");
        client.create_target(PLANNED, "planned", &folder).await;
        Self {
            installation,
            redis,
            client,
            queue,
            api: Some(api),
            worker: None,
            _repo: repo,
        }
    }

    /// A process that will abort at a point.
    pub(super) fn start_armed(&self, program: &str, point: &str) -> RunningProgram {
        let program = self.installation.program(program);
        program.env("SLIPWAY_FAIL_POINT", point).start()
    }

    pub(super) fn stop_api(&mut self) {
        self.api = None;
    }

    pub(super) fn start_api(&mut self) {
        if self.api.is_none() {
            let api = self.installation.start_api();
            self.client = self.client.at(&api.address);
            self.api = Some(api);
        }
    }

    pub(super) fn api(&self) -> &RunningProgram {
        &self.api.as_ref().expect("it was started").program
    }

    pub(super) fn stop_worker(&mut self) {
        self.worker = None;
    }

    pub(super) fn start_worker(&mut self) {
        if self.worker.is_none() {
            self.worker = Some(self.installation.start_worker());
        }
    }

    /// Waits until a process has aborted.
    pub(super) fn expect_abort(process: &mut RunningProgram, point: &str) {
        let status = process.wait(DEADLINE);
        assert_eq!(
            status.signal(),
            Some(ABORTED),
            "{point}: {status}\n{}",
            process.logs()
        );
    }

    /// Does something again and again until a process has aborted.
    pub(super) async fn until_abort(
        process: &mut RunningProgram,
        point: &str,
        mut again: impl AsyncFnMut(),
    ) {
        eventually(DEADLINE, async || {
            again().await;
            process.poll().ok_or(point)
        })
        .await;
        Self::expect_abort(process, point);
    }

    /// Asks for a deployment that waits until [`Ground::release`].
    pub(super) async fn deploy_waiting(&self) -> Value {
        fs::write(self.installation.path("hold"), "").unwrap();
        self.deploy("wait").await
    }

    /// Lets a waiting deployment go on once it was taken from its lost worker: until then a process
    /// of the first run may still be about to die.
    pub(super) async fn release_once_taken_back(&self, deployment: &Value) {
        let id = deployment["id"].as_i64().unwrap();
        eventually(DEADLINE, async || {
            let seen = self.client.deployment(id).await;
            if seen["interruptions"] == 1 {
                Ok(())
            } else {
                Err(seen)
            }
        })
        .await;
        self.release();
    }

    pub(super) fn release(&self) {
        fs::remove_file(self.installation.path("hold")).unwrap();
    }

    pub(super) async fn deploy(&self, target: &str) -> Value {
        let answer = self.client.request_deployment(PROJECT, target).await;
        answer.expect(202).json()
    }

    /// Asks for a deployment whose plan is written with its claim.
    pub(super) async fn deploy_planned(&self) -> Value {
        let answer = self.client.request_deployment(PLANNED, "planned").await;
        answer.expect(202).json()
    }

    /// The same as [`Ground::judge`] for such a deployment: each of its runs was planned once and
    /// greeted once.
    pub(super) async fn judge_planned(&self, point: &str, deployment: &Value) {
        let id = deployment["id"].as_i64().unwrap();
        let ended = self.client.ended(id).await;
        assert_eq!(ended["status"], "succeeded", "{point}: {ended}");
        assert_eq!(ended["attempt"], 1, "{point}: {ended}");
        assert_eq!(self.ends(id), 1, "{point}: {ended}");
        let lost = usize::from(point != "claim.before_commit");
        assert_eq!(ended["interruptions"], lost, "{point}: {ended}");
        let statuses: Vec<_> = ended["steps"].as_array().unwrap().iter().collect();
        let statuses: Vec<_> = statuses.iter().map(|step| &step["status"]).collect();
        assert_eq!(statuses[lost..], ["succeeded"], "{point}: {ended}");
        assert!(statuses[..lost].iter().all(|it| *it == "lost"), "{ended}");
        let log = self.client.log(id).await;
        assert_eq!(log.matches("on worker").count(), lost + 1, "{point}: {log}");
    }

    /// Waits until a deployment's step has begun.
    pub(super) async fn until_began(&self, deployment: &Value) {
        let id = deployment["id"].to_string();
        eventually(DEADLINE, async || {
            let began = records(&self.installation.path("began"));
            began
                .iter()
                .any(|line| line[0] == id)
                .then_some(())
                .ok_or(began)
        })
        .await;
    }

    /// Waits for the end of a deployment and judges it: its attempts, and how often its step ran to
    /// its end.
    pub(super) async fn judge(&self, point: &str, deployment: &Value, attempts: i64, ends: usize) {
        let id = deployment["id"].as_i64().unwrap();
        let ended = self.client.ended(id).await;
        assert_eq!(ended["status"], "succeeded", "{point}: {ended}");
        assert_eq!(ended["attempt"], attempts, "{point}: {ended}");
        assert!(
            ended["interruptions"].as_i64() <= Some(1),
            "{point}: {ended}"
        );
        let runs = self.ends(id);
        assert!((1..=ends).contains(&runs), "{point}: {runs} runs: {ended}");
        let target = ended["target"]["slug"].as_str().unwrap();
        let current = self.installation.path(&format!("target-{target}/current"));
        let live = fs::read_link(current).unwrap();
        let live: i64 = live.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // A newer deployment may have gone live since, and an older one never.
        assert!(live >= id, "{point}: {live} is live: {ended}");
    }

    pub(super) fn ends(&self, id: i64) -> usize {
        let ended = records(&self.installation.path("ended"));
        ended
            .iter()
            .filter(|line| line[0] == id.to_string())
            .count()
    }

    /// Waits until the index holds nothing.
    pub(super) async fn expect_empty_index(&self, point: &str) {
        eventually(DEADLINE, async || {
            let entries = self.queue.entries(100).await;
            let targets = self.queue.targets().await;
            match (&entries, &targets) {
                (Ok(entries), Ok(targets)) if entries.is_empty() && targets.is_empty() => Ok(()),
                _ => Err((point, entries, targets)),
            }
        })
        .await;
    }

    /// Takes a deployment out of the index behind everybody's back.
    pub(super) async fn drop_from_index(&self, deployment: &Value) {
        let entry = entry(deployment);
        self.queue
            .finish(entry, &Authority::Database)
            .await
            .unwrap();
    }

    /// Puts a deployment into its target's list behind everybody's back.
    pub(super) async fn push_to_index(&self, deployment: &Value) {
        let entry = entry(deployment);
        self.queue.enqueue(entry, true).await.unwrap();
        self.queue
            .requeue(entry, &Authority::Database)
            .await
            .unwrap();
    }
}

fn entry(deployment: &Value) -> Entry {
    Entry {
        id: DeploymentId(deployment["id"].as_i64().unwrap()),
        target: TargetId(deployment["target"]["id"].as_i64().unwrap()),
        priority: Priority::Manual,
    }
}
