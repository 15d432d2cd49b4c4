//! Locks, the queue, the workers and the numbers for Prometheus.

use serde_json::{Value, json};
use slipway_core::{
    access::SystemRole,
    process::{duty, entity::ProcessKind},
};

use super::caller::Caller;
use crate::{app::TestApp, scene::Run};

const TARGET_LOCK: &str = "/api/v1/projects/web/targets/live/lock";
const PROJECT_LOCK: &str = "/api/v1/projects/web/lock";

fn id(deployment: &Value) -> slipway_core::id::DeploymentId {
    slipway_core::id::DeploymentId(deployment["id"].as_i64().unwrap())
}

#[tokio::test]
async fn what_is_locked_is_accepted_and_says_why_it_waits() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    for path in [TARGET_LOCK, PROJECT_LOCK, "/api/v1/lock"] {
        let none = admin.get(path).await;
        assert_eq!((none.status, none.code()), (404, "not_found"), "{path}");
        let lock = json!({ "reason": " stocktaking ", "expires_at": "2100-01-01T00:00:00Z" });
        let placed = admin.put(path, lock).await.expect(200);
        assert_eq!(placed["reason"], "stocktaking");
        assert_eq!(placed["expires_at"], "2100-01-01T00:00:00Z");
        assert_eq!(placed["by"]["name"], "Admin");
        assert_eq!(admin.get(path).await.expect(200), placed);

        let deployment = admin.deploy().await.expect(202);
        assert_eq!(deployment["status"], "queued");
        assert_eq!(deployment["queue"]["waiting_for"], "lock");
        let text = deployment["queue"]["waiting_text"].as_str().unwrap();
        assert!(
            text.contains("locked by Admin until 2100-01-01T00:00:00Z: stocktaking"),
            "{text}"
        );
        let queue = admin.get("/api/v1/queue").await.expect(200);
        assert_eq!(queue["locks"][0]["scope"], placed["scope"]);
        for _ in 0..2 {
            admin.delete(path).await.expect(204);
        }
        admin.get(path).await.expect(404);
        let path = format!("/api/v1/deployments/{}", deployment["id"]);
        let seen = admin.get(&path);
        let seen = seen.await.expect(200);
        assert_ne!(seen["queue"]["waiting_for"], "lock");
    }
}

#[tokio::test]
async fn project_and_target_show_their_own_locks() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let project = async || admin.get("/api/v1/projects/web").await.expect(200)["lock"].clone();
    let target = async || {
        let list = admin.get("/api/v1/projects/web/targets").await.expect(200);
        list["items"][0]["lock"].clone()
    };
    assert_eq!(
        (project().await, target().await),
        (Value::Null, Value::Null)
    );
    let lock = |reason: &str| json!({ "reason": reason });
    admin.put(TARGET_LOCK, lock("one")).await.expect(200);
    admin.put(TARGET_LOCK, lock("two")).await.expect(200);
    assert_eq!(project().await, Value::Null);
    assert_eq!(target().await["reason"], "two");
    admin.put(PROJECT_LOCK, lock("three")).await.expect(200);
    assert_eq!(project().await["reason"], "three");
    assert_eq!(target().await["reason"], "two");
    let queue = admin.get("/api/v1/queue").await.expect(200);
    assert_eq!(queue["locks"][0]["target"]["slug"], "live");
    assert_eq!(queue["locks"][1]["project"]["slug"], "web");
    assert_eq!(queue["locks"][1]["target"], Value::Null);
}

#[tokio::test]
async fn a_lock_needs_a_reason_and_an_end_to_come() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    for (body, field) in [
        (json!({ "reason": " " }), "reason"),
        (json!({ "reason": "two\nlines" }), "reason"),
        (
            json!({ "reason": "x", "expires_at": "2020-01-01T00:00:00Z" }),
            "expires_at",
        ),
        (json!({ "reason": "x", "expires_at": "soon" }), "expires_at"),
    ] {
        let answer = admin.put(TARGET_LOCK, body).await;
        assert_eq!(
            (answer.status, answer.field()),
            (422, field),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn only_an_admin_locks_everything_and_everybody_may_know() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    let lock = json!({ "reason": "moving house" });
    for role in [
        SystemRole::Manager,
        SystemRole::Developer,
        SystemRole::Viewer,
    ] {
        let caller = Caller::of_role(&app, role).await;
        caller.put("/api/v1/lock", lock.clone()).await.expect(403);
        caller.delete("/api/v1/lock").await.expect(403);
        admin.put("/api/v1/lock", lock.clone()).await.expect(200);
        let seen = caller.get("/api/v1/lock").await.expect(200);
        assert_eq!(seen["reason"], "moving house");
        admin.delete("/api/v1/lock").await.expect(204);
    }
}

#[tokio::test]
async fn the_queue_and_its_numbers_are_for_those_who_operate_slipway() {
    let app = TestApp::spawn().await;
    let stranger = Caller::stranger(&app);
    for path in ["/api/v1/queue", "/api/v1/workers", "/metrics"] {
        let answer = stranger.get(path).await;
        assert!(!answer.body.to_string().contains("slipway_"), "{path}");
        answer.expect(401);
        for (role, status) in [
            (SystemRole::Admin, 200),
            (SystemRole::Manager, 200),
            (SystemRole::Developer, 403),
            (SystemRole::Viewer, 403),
        ] {
            let caller = Caller::of_role(&app, role).await;
            let answer = caller.get(path).await;
            assert_eq!(answer.status, status, "{path} {role:?}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_queue_tells_what_runs_and_what_waits_for_what() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(admin.deploy().await.expect(202));
    }
    let _run = Run::begin(&app, id(&made[0])).await;
    let queue = admin.get("/api/v1/queue?limit=2").await.expect(200);
    assert_eq!(queue["depth"], 2);
    assert_eq!(queue["running"], 1);
    assert_eq!(
        (&queue["limit"], &queue["max_running"]),
        (&json!(1000), &json!(1000))
    );
    assert_eq!(queue["healthy"], true);
    assert!(queue["oldest_waiting_ms"].is_i64());
    let [running, next] = queue["items"].as_array().unwrap().as_slice() else {
        panic!("{queue}");
    };
    assert_eq!(running["deployment"], made[0]["id"]);
    assert_eq!(running["worker"], "worker-1");
    assert_eq!(
        (&running["position"], &running["interruptions"]),
        (&Value::Null, &json!(0))
    );
    assert!(running["lease_age_ms"].as_i64().unwrap() >= 0);
    assert!(running["lease_left_ms"].as_i64().unwrap() > 0);
    assert_eq!(next["deployment"], made[1]["id"]);
    assert_eq!(
        (&next["position"], &next["priority"]),
        (&json!(1), &json!("manual"))
    );
    assert_eq!(next["waiting_for"], "running_deployment");
    let text = next["waiting_text"].as_str().unwrap();
    assert!(text.contains(&made[0]["id"].to_string()), "{text}");

    let cursor = queue["next_cursor"].as_str().unwrap();
    let rest = admin.get(&format!("/api/v1/queue?cursor={cursor}")).await;
    let rest = rest.expect(200);
    assert_eq!(rest["items"][0]["deployment"], made[2]["id"]);
    assert_eq!(rest["items"][0]["position"], 2);
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[tokio::test]
async fn workers_tell_who_they_are_and_what_they_run() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let none = admin.get("/api/v1/workers").await.expect(200);
    assert_eq!(none["items"], json!([]));
    duty::announce(&app.ctx, ProcessKind::Worker).await;
    let deployment = admin.deploy().await.expect(202);
    assert_eq!(
        deployment["queue"]["waiting_text"],
        "A worker takes it next"
    );
    let _run = Run::begin_as(&app, id(&deployment), &app.ctx.process.name).await;

    let workers = admin.get("/api/v1/workers").await.expect(200);
    let worker = &workers["items"][0];
    assert_eq!(worker["name"], app.ctx.process.name.as_str());
    assert_eq!(
        (&worker["kind"], &worker["status"]),
        (&json!("worker"), &json!("live"))
    );
    assert_eq!(worker["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(worker["pid"], std::process::id());
    assert_eq!(worker["concurrency"], 5);
    assert_eq!(worker["running"][0]["deployment"], deployment["id"]);
    app.ctx.process.drain();
    duty::announce(&app.ctx, ProcessKind::Worker).await;
    let workers = admin.get("/api/v1/workers").await.expect(200);
    assert_eq!(workers["items"][0]["status"], "draining");
}

#[tokio::test]
async fn the_numbers_add_up() {
    let app = TestApp::spawn().await;
    let admin = Caller::admin(&app).await;
    admin.make_project().await;
    let (first, _second) = (admin.deploy().await.expect(202), admin.deploy().await);
    let run = Run::begin_as(&app, id(&first), &app.ctx.process.name).await;
    app.ctx.process.counters.started(&run.row);
    duty::announce(&app.ctx, ProcessKind::Worker).await;
    let answer = admin.get("/metrics").await;
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = answer.expect(200);
    let text = text.as_str().unwrap();
    let process = &app.ctx.process.name;
    for line in [
        "slipway_queue_deployments{state=\"queued\"} 1".to_owned(),
        "slipway_queue_deployments{state=\"running\"} 1".to_owned(),
        "slipway_queue_backlog_limit 1000".to_owned(),
        "slipway_queue_healthy 1".to_owned(),
        format!("slipway_leases{{worker=\"{process}\"}} 1"),
        format!("slipway_recoveries_total{{process=\"{process}\",cause=\"worker_lost\"}} 0"),
        format!("slipway_deployments_ended_total{{process=\"{process}\",status=\"failed\"}} 0"),
        format!("slipway_start_latency_seconds_count{{process=\"{process}\"}} 1"),
        "# TYPE slipway_start_latency_seconds histogram".to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
}
