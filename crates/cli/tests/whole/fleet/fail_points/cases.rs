//! How a process is brought to each kind of point, and what has to come of it.

use serde_json::{Value, json};
use slipway_testkit::{RunningProgram, eventually};

use super::{
    Case,
    ground::{Ground, PROJECT},
};
use crate::rig::{Api, DEADLINE};

const API: &str = "slipway-api";
const WORKER: &str = "slipway-worker";

impl Ground {
    /// Has a process abort at a point and checks what is left of what was accepted.
    pub(super) async fn abort_at(&mut self, point: &str, case: Case) {
        self.start_api();
        match case {
            Case::Request(earlier) => self.request(point, earlier).await,
            Case::CancelQueued => self.cancel_queued(point).await,
            Case::CancelRunning => self.cancel_running(point).await,
            Case::Run(ends) => self.run(point, ends).await,
            Case::Claim => self.claim(point).await,
            Case::LongRun => self.long_run(point).await,
            Case::Failure(attempt) => self.failure(point, attempt).await,
            Case::HandBack => self.hand_back(point).await,
            Case::TakesEnded => self.takes_ended(point).await,
            Case::TakesRunning => self.takes_running(point).await,
            Case::TakesDelayed => self.takes_delayed(point).await,
            Case::TakesNewer => self.takes_newer(point).await,
            Case::LostWorker => self.lost_worker(point).await,
            Case::NotPushed => self.not_pushed(point).await,
            Case::NotDelayed => self.not_delayed(point).await,
            Case::NotHeld => self.not_held(point).await,
            Case::NotRemoved => self.not_removed(point).await,
            Case::Emptied => self.emptied(point).await,
        }
        self.expect_empty_index(point).await;
    }

    /// An API process that will abort, and that serves until then.
    fn armed_api(&self, point: &str) -> Api {
        let program = self.start_armed(API, point);
        Api::serving(program)
    }

    async fn request(&mut self, point: &str, earlier: usize) {
        self.start_worker();
        let mut api = self.armed_api(point);
        let client = self.client.at(&api.address);
        for number in 0..earlier {
            let key = format!("{point}.{number}");
            let answer = client.request_deployment_once(PROJECT, "plain", &key).await;
            let accepted = answer.expect(202).json();
            self.judge(point, &accepted, 1, 1).await;
        }
        let answer = client.try_deployment_once(PROJECT, "plain", point).await;
        assert!(answer.is_none(), "{point}: {answer:?}");
        Self::expect_abort(&mut api.program, point);
        // Whoever got no answer asks again, at a process that is there.
        let again = self
            .client
            .request_deployment_once(PROJECT, "plain", point)
            .await;
        let deployment = again.expect(202).json();
        self.judge(point, &deployment, 1, 1).await;
        let newest = self.client.get("/api/v1/deployments?limit=1").await;
        let newest = &newest.expect(200).json()["items"][0]["id"];
        assert_eq!(newest, &deployment["id"], "{point}: accepted twice");
    }

    async fn cancel_queued(&mut self, point: &str) {
        self.stop_worker();
        let deployment = self.deploy("plain").await;
        let mut api = self.armed_api(point);
        self.cancel_at(&mut api, &deployment, point).await;
        self.expect_cancelled(&deployment, point).await;
    }

    async fn cancel_running(&mut self, point: &str) {
        self.start_worker();
        let deployment = self.deploy_waiting().await;
        self.until_began(&deployment).await;
        let mut api = self.armed_api(point);
        self.cancel_at(&mut api, &deployment, point).await;
        self.expect_cancelled(&deployment, point).await;
        self.release();
    }

    async fn cancel_at(&self, api: &mut Api, deployment: &Value, point: &str) {
        let path = format!("/api/v1/deployments/{}/cancel", deployment["id"]);
        let answer = self
            .client
            .at(&api.address)
            .try_post(&path, &json!({}))
            .await;
        assert!(answer.is_none(), "{point}: {answer:?}");
        Self::expect_abort(&mut api.program, point);
    }

    /// What was written before the abort holds, without anybody asking again.
    async fn expect_cancelled(&self, deployment: &Value, point: &str) {
        let id = deployment["id"].as_i64().unwrap();
        let ended = self.client.ended(id).await;
        assert_eq!(ended["status"], "cancelled", "{point}: {ended}");
        assert_eq!(self.ends(id), 0, "{point}");
    }

    async fn run(&mut self, point: &str, ends: usize) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.deploy("plain").await;
        Self::expect_abort(&mut worker, point);
        self.start_worker();
        self.judge(point, &deployment, 1, ends).await;
    }

    async fn claim(&mut self, point: &str) {
        self.run(point, 1).await;
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.deploy_planned().await;
        Self::expect_abort(&mut worker, point);
        self.start_worker();
        self.judge_planned(point, &deployment).await;
    }

    async fn long_run(&mut self, point: &str) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.deploy_waiting().await;
        Self::expect_abort(&mut worker, point);
        self.start_worker();
        self.release_once_taken_back(&deployment).await;
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn failure(&mut self, point: &str, attempt: i64) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.deploy("fail").await;
        Self::expect_abort(&mut worker, point);
        self.start_worker();
        self.judge(point, &deployment, attempt, 1).await;
    }

    async fn hand_back(&mut self, point: &str) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.deploy_waiting().await;
        self.until_began(&deployment).await;
        // Signals that come too close together may be taken for one.
        eventually(DEADLINE, async || {
            worker.terminate();
            worker.poll().ok_or(point)
        })
        .await;
        Self::expect_abort(&mut worker, point);
        self.release();
        self.start_worker();
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn takes_ended(&mut self, point: &str) {
        self.start_worker();
        let deployment = self.deploy("plain").await;
        self.judge(point, &deployment, 1, 1).await;
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let ground = &*self;
        Self::until_abort(&mut worker, point, async || {
            ground.push_to_index(&deployment).await;
        })
        .await;
        self.start_worker();
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn takes_running(&mut self, point: &str) {
        self.start_worker();
        let deployment = self.deploy_waiting().await;
        self.until_began(&deployment).await;
        let mut worker = self.start_armed(WORKER, point);
        let ground = &*self;
        Self::until_abort(&mut worker, point, async || {
            ground.push_to_index(&deployment).await;
        })
        .await;
        self.release();
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn takes_delayed(&mut self, point: &str) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.delayed().await;
        let ground = &*self;
        Self::until_abort(&mut worker, point, async || {
            ground.push_to_index(&deployment).await;
        })
        .await;
        self.start_worker();
        self.judge(point, &deployment, 2, 1).await;
    }

    /// A deployment that has failed once and waits for its next attempt.
    async fn delayed(&self) -> Value {
        let deployment = self.deploy("fail").await;
        let id = deployment["id"].as_i64().unwrap();
        eventually(DEADLINE, async || {
            let seen = self.client.deployment(id).await;
            let is_waiting = seen["status"] == "queued" && seen["attempt"] == 1;
            if is_waiting { Ok(()) } else { Err(seen) }
        })
        .await;
        deployment
    }

    async fn takes_newer(&mut self, point: &str) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        worker.wait_for_line(DEADLINE, |line| {
            line.contains("ready for deployments").then_some(())
        });
        let mut all = Vec::new();
        // Whoever compares index and database first may mend it before the worker looks.
        for _ in 0..10 {
            worker.freeze();
            let pair = [self.deploy("plain").await, self.deploy("plain").await];
            self.api().freeze();
            self.drop_from_index(&pair[0]).await;
            worker.thaw();
            let is_over = self.until_aborted_or_idle(&mut worker, point).await;
            self.api().thaw();
            all.extend(pair);
            if is_over {
                break;
            }
        }
        Self::expect_abort(&mut worker, point);
        self.start_worker();
        for deployment in &all {
            self.judge(point, deployment, 1, 1).await;
        }
    }

    async fn until_aborted_or_idle(&self, worker: &mut RunningProgram, point: &str) -> bool {
        eventually(DEADLINE, async || {
            if worker.poll().is_some() {
                return Ok(true);
            }
            match self.queue.entries(10).await {
                Ok(entries) if entries.is_empty() => Ok(false),
                entries => Err((point, entries)),
            }
        })
        .await
    }

    async fn lost_worker(&mut self, point: &str) {
        self.start_worker();
        let deployment = self.deploy_waiting().await;
        self.until_began(&deployment).await;
        self.stop_api();
        self.stop_worker();
        let mut api = self.start_armed(API, point);
        Self::expect_abort(&mut api, point);
        self.start_api();
        self.start_worker();
        self.release_once_taken_back(&deployment).await;
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn not_pushed(&mut self, point: &str) {
        self.stop_worker();
        let deployment = self.deploy("plain").await;
        self.stop_api();
        self.drop_from_index(&deployment).await;
        self.abort_alone(point);
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn not_delayed(&mut self, point: &str) {
        self.start_worker();
        let deployment = self.delayed().await;
        self.stop_api();
        self.stop_worker();
        self.drop_from_index(&deployment).await;
        self.abort_alone(point);
        self.judge(point, &deployment, 2, 1).await;
    }

    /// An API process aborts while nobody else is there; then the others come back.
    fn abort_alone(&mut self, point: &str) {
        let mut api = self.start_armed(API, point);
        Self::expect_abort(&mut api, point);
        self.start_api();
        self.start_worker();
    }

    async fn not_held(&mut self, point: &str) {
        self.stop_worker();
        let mut worker = self.start_armed(WORKER, point);
        let deployment = self.deploy_waiting().await;
        self.until_began(&deployment).await;
        self.api().freeze();
        let ground = &*self;
        Self::until_abort(&mut worker, point, async || {
            ground.drop_from_index(&deployment).await;
        })
        .await;
        self.api().thaw();
        self.start_worker();
        self.release_once_taken_back(&deployment).await;
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn not_removed(&mut self, point: &str) {
        self.start_worker();
        let deployment = self.deploy("plain").await;
        self.judge(point, &deployment, 1, 1).await;
        self.stop_worker();
        self.stop_api();
        self.push_to_index(&deployment).await;
        self.abort_alone(point);
        self.judge(point, &deployment, 1, 1).await;
    }

    async fn emptied(&mut self, point: &str) {
        self.stop_worker();
        let deployments = [self.deploy("plain").await, self.deploy("plain").await];
        self.stop_api();
        self.redis.restart();
        self.abort_alone(point);
        for deployment in &deployments {
            self.judge(point, deployment, 1, 1).await;
        }
    }
}
