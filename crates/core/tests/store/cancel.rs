//! Stopping a deployment wherever it stands.

use slipway_core::{
    db,
    deployment::{
        reason::{Code, Reason},
        run::{Next, RunEnd},
        service::cancel,
        status::Status,
        store::apply::request_cancel,
    },
    error::Result,
    id::DeploymentId,
    ports::{Event, JobQueue as _, Place, Received},
    recovery::reaper,
};

use crate::rig::{Rig, Site, conflict};

on_both! {
    a_waiting_deployment_is_cancelled_at_once_and_leaves_the_index,
    a_running_deployment_is_told_and_stays_its_workers,
    cancelling_again_changes_nothing,
    what_has_ended_otherwise_cannot_be_cancelled,
    one_that_waits_for_its_next_attempt_frees_its_target,
    a_run_that_fails_after_the_request_is_not_tried_again,
    a_run_that_is_handed_back_after_the_request_does_not_come_back,
    a_lost_worker_s_cancelled_run_is_cancelled,
    a_run_that_is_lost_as_somebody_cancels_it_never_stays_queued,
    a_claim_and_a_cancel_at_once_agree,
}

async fn stop(rig: &Rig, site: &Site, id: DeploymentId) -> Result<Status> {
    let stopped = cancel(&rig.ctx, &site.owner, id, db::now()).await;
    stopped.map(|detail| detail.row.status)
}

fn failed() -> RunEnd {
    RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"))
}

async fn a_waiting_deployment_is_cancelled_at_once_and_leaves_the_index(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    assert_eq!(stop(&rig, &site, id).await.unwrap(), Status::Cancelled);
    let row = rig.row(id).await;
    assert_eq!(row.reason.as_deref(), Some("cancelled"));
    assert!(row.finished_at.is_some());
    assert_eq!(rig.queue.places(&[id]).await.unwrap()[&id], Place::Absent);
}

async fn a_running_deployment_is_told_and_stays_its_workers(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim_next().await;
    let mut hints = rig.ctx.bus.subscribe().await;
    assert_eq!(stop(&rig, &site, id).await.unwrap(), Status::Running);
    assert_eq!(hints.next().await, Received::Event(Event::Cancel(id)));
    let told = rig.row(id).await;
    assert_eq!(told.cancel_requested_by, Some(site.owner.user));
    assert!(told.cancel_requested_at.is_some());
    assert_eq!(rig.finish(&row, RunEnd::Cancelled).await, Next::Ended);
    let ended = rig.row(id).await;
    assert_eq!(ended.status, Status::Cancelled);
    assert_eq!(ended.reason_text.as_deref(), Some("Somebody cancelled it."));
}

async fn cancelling_again_changes_nothing(rig: Rig) {
    let site = rig.site("web").await;
    let (waiting, running) = (rig.deploy(&site).await, rig.deploy(&site).await);
    stop(&rig, &site, waiting).await.unwrap();
    rig.claim(running).await;
    stop(&rig, &site, running).await.unwrap();
    for id in [waiting, running] {
        let before = rig.row(id).await;
        stop(&rig, &site, id).await.unwrap();
        assert_eq!(rig.row(id).await, before);
    }
    let row = rig.row(running).await;
    let again = request_cancel(rig.ctx.db.writer(), &row, site.owner.user, db::now()).await;
    assert!(!again.unwrap());
}

async fn what_has_ended_otherwise_cannot_be_cancelled(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    rig.finish(&row, RunEnd::Succeeded).await;
    assert_eq!(conflict(stop(&rig, &site, id).await), "already_ended");
    assert_eq!(rig.row(id).await.status, Status::Succeeded);
}

async fn one_that_waits_for_its_next_attempt_frees_its_target(rig: Rig) {
    let site = rig.site("web").await;
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let row = rig.claim(first).await;
    rig.finish_with(&row, failed(), 60_000).await;
    assert_eq!(stop(&rig, &site, first).await.unwrap(), Status::Cancelled);
    assert_eq!(rig.claim_next().await.id, second);
}

async fn a_run_that_fails_after_the_request_is_not_tried_again(rig: Rig) {
    let site = rig.site("web").await;
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let row = rig.claim(first).await;
    stop(&rig, &site, first).await.unwrap();
    assert_eq!(rig.finish(&row, failed()).await, Next::Ended);
    assert_eq!(rig.row(first).await.status, Status::Cancelled);
    rig.claim(second).await;
}

async fn a_run_that_is_handed_back_after_the_request_does_not_come_back(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    stop(&rig, &site, id).await.unwrap();
    assert_eq!(rig.finish(&row, RunEnd::HandedBack).await, Next::Ended);
    assert_eq!(rig.row(id).await.status, Status::Cancelled);
}

async fn a_lost_worker_s_cancelled_run_is_cancelled(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    rig.claim_next().await;
    stop(&rig, &site, id).await.unwrap();
    rig.expire(id).await;
    assert_eq!(reaper::reap(&rig.ctx, db::now()).await.unwrap(), 1);
    let row = rig.row(id).await;
    assert_eq!((row.status, row.interruptions), (Status::Cancelled, 0));
    assert_eq!(rig.queue.places(&[id]).await.unwrap()[&id], Place::Absent);
}

/// The reaper decides by a row that it has read; the request may come after that.
async fn a_run_that_is_lost_as_somebody_cancels_it_never_stays_queued(rig: Rig) {
    let site = rig.site("web").await;
    for round in 0..10 {
        let id = rig.deploy(&site).await;
        rig.claim_next().await;
        rig.expire(id).await;
        let (ctx, owner) = (rig.ctx.clone(), site.owner.clone());
        let cancelled = tokio::spawn(async move { cancel(&ctx, &owner, id, db::now()).await });
        reaper::reap(&rig.ctx, db::now()).await.unwrap();
        cancelled.await.unwrap().unwrap();
        reaper::reap(&rig.ctx, db::now()).await.unwrap();
        assert_eq!(rig.row(id).await.status, Status::Cancelled, "round {round}");
    }
    assert_eq!(rig.queue.depth().await.unwrap(), 0);
}

async fn a_claim_and_a_cancel_at_once_agree(rig: Rig) {
    use slipway_core::deployment::store::claim::{Claim, Claimant, claim};
    let site = rig.site("web").await;
    for _ in 0..10 {
        let id = rig.deploy(&site).await;
        let (ctx, owner) = (rig.ctx.clone(), site.owner.clone());
        let cancelled = tokio::spawn(async move { cancel(&ctx, &owner, id, db::now()).await });
        let token = crate::rig::token();
        let by = Claimant {
            owner: "worker-1",
            token: &token,
            lease: crate::rig::LEASE,
            max_running: 100,
        };
        let claimed = claim(&rig.ctx.db, id, &by, db::now()).await.unwrap();
        let status = cancelled.await.unwrap().unwrap().row.status;
        match claimed {
            Claim::Won(row) => {
                assert_eq!(status, Status::Running);
                assert!(rig.row(id).await.cancel_requested_at.is_some());
                rig.finish(&row, RunEnd::Cancelled).await;
            }
            Claim::Raced | Claim::Ended => assert_eq!(status, Status::Cancelled),
            other => panic!("{other:?}"),
        }
    }
}
