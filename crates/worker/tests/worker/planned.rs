//! First runs whose plan and first line are written with their claim.

use std::sync::Arc;

use slipway_core::{
    db::{Connection, Db},
    deployment::{batches::Batches, status::Status, step::StepStatus},
    id::DeploymentId,
};
use slipway_testkit::sqlite_database;

use crate::{
    faults::Wire,
    look::reason,
    rig::{Rig, TARGET},
};

const PIPELINE: &str = "\
after:
  - { name: mark, run: echo run >> ran }
  - { name: count, run: wc -l < ran }
";

/// A project of which a claim sees all that its runs need to know, behind a wire that can fail.
async fn wired(pipeline: &str) -> (Rig, Arc<Wire>) {
    let mut rig = Rig::bare(sqlite_database(), &[]).await;
    rig.project(None).await;
    rig.pipeline(pipeline).await;
    let wire = Arc::new(Wire::to(rig.ctx.db.clone()));
    rig.ctx.db = Db::over(Connection::Relay(Arc::<Wire>::clone(&wire)));
    rig.ctx.batches = Batches::new(&rig.ctx.db, &rig.ctx.settings.queue);
    (rig, wire)
}

async fn assert_ran_once(rig: &Rig, id: DeploymentId) {
    let row = rig.row(id).await;
    assert_eq!(reason(&row), (Status::Succeeded, "", ""));
    assert_eq!((row.attempt, row.interruptions, row.fence), (1, 0, 1));
    assert!(row.pipeline.is_some_and(|json| json.contains("echo run")));
    insta::assert_snapshot!(rig.steps(id).await, @"
    after mark succeeded 0
    after count succeeded 0
    ");
    for step in rig.step_rows(id).await {
        assert!(step.started_at.is_some() && step.started_at <= step.finished_at);
    }
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 1 of project shop to target prod, attempt 1, on worker <worker>.
    1
    ");
    let ran = std::fs::read_to_string(rig.path(TARGET).join("ran")).unwrap();
    assert_eq!(ran, "run\n");
}

#[tokio::test]
async fn claim_and_end_are_all_that_a_first_run_commits() {
    let (rig, wire) = wired(PIPELINE).await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    let before = wire.commits();
    worker.once().await;
    assert_eq!(wire.commits() - before, 2);
    assert_ran_once(&rig, id).await;
}

#[tokio::test]
async fn plan_of_a_claim_without_an_answer_is_found_and_not_written_again() {
    let (rig, wire) = wired(PIPELINE).await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    wire.lose_next_answer(None);
    worker.once().await;
    assert!(wire.has_lost());
    assert_ran_once(&rig, id).await;
}

#[tokio::test]
async fn plan_of_a_claim_without_an_answer_is_followed_though_the_project_has_changed() {
    let (rig, wire) = wired(PIPELINE).await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    let changed = "UPDATE projects SET pipeline_source = \
                   'after:' || char(10) || '  - { name: other, run: ''false'' }'";
    wire.lose_next_answer(Some(changed));
    worker.once().await;
    assert!(wire.has_lost());
    assert_ran_once(&rig, id).await;
    let next = rig.deploy().await;
    worker.once().await;
    assert_eq!(rig.steps(next).await, "after other failed 1\n");
}

#[tokio::test]
async fn later_attempt_writes_its_own_plan() {
    let pipeline = "after:\n  - { name: odd, run: '[ -e ran ] || { touch ran; exit 1; }' }\n";
    let (rig, _wire) = wired(pipeline).await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    let row = worker.finish(&rig, id).await;
    assert_eq!((row.status, row.attempt), (Status::Succeeded, 2));
    insta::assert_snapshot!(rig.steps(id).await, @"
    after odd failed 1
    after odd succeeded 0
    ");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 1 of project shop to target prod, attempt 1, on worker <worker>.
    # Step odd exited with code 1.
    # Deployment 1 of project shop to target prod, attempt 2, on worker <worker>.
    ");
}

#[tokio::test]
async fn run_that_cannot_begin_has_no_plan() {
    let pipeline = "after:\n  - { name: use, run: 'true', secrets: [TOKEN] }\n";
    let (rig, _wire) = wired(pipeline).await;
    let id = rig.deploy().await;
    let row = rig.finished(id).await;
    let text = "A step names the secret TOKEN, which the project does not have.";
    assert_eq!(reason(&row), (Status::Failed, "secret_missing", text));
    assert_eq!(rig.steps(id).await, "");
    assert_eq!(rig.log(id).await, format!("# {text}\n"));
}

#[tokio::test]
async fn run_that_is_handed_back_leaves_no_step_open() {
    let pipeline = "after:\n  - { name: wait, run: sleep 300 }\n  - { name: next, run: 'true' }\n";
    let (rig, _wire) = wired(pipeline).await;
    let id = rig.deploy().await;
    let worker = rig.worker();
    worker.hand_back.cancel();
    worker.once().await;
    let row = rig.row(id).await;
    assert_eq!((row.status, row.attempt), (Status::Queued, 0));
    let steps = rig.step_rows(id).await;
    let statuses: Vec<_> = steps.iter().map(|step| step.status).collect();
    // Whether the command had begun by then is left to chance.
    let [
        StepStatus::Lost | StepStatus::Cancelled,
        StepStatus::Skipped,
    ] = statuses[..]
    else {
        panic!("{statuses:?}");
    };
}
