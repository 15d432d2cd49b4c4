//! What a new deployment does to those of its target that wait.

use slipway_core::{
    deployment::{
        reason::{Code, Reason},
        run::{Next, RunEnd},
        status::Status,
    },
    error::Error,
    ports::{JobQueue as _, Place},
    project::policy::QueuePolicy,
};

use crate::rig::{Rig, Site, conflict};

on_both! {
    queue_all_lets_everything_wait_its_turn,
    keep_newest_supersedes_what_waits_and_leaves_what_runs,
    keep_newest_supersedes_one_that_waits_for_its_next_attempt,
    keep_newest_leaves_other_targets_alone,
    keep_newest_takes_the_place_of_another_when_the_queue_is_full,
    many_at_once_with_keep_newest_leave_one_waiting,
    reject_refuses_while_anything_is_open,
}

async fn statuses(rig: &Rig, site: &Site) -> Vec<Status> {
    rig.all(site)
        .await
        .into_iter()
        .map(|row| row.status)
        .collect()
}

async fn queue_all_lets_everything_wait_its_turn(rig: Rig) {
    let site = rig.site("web").await;
    for _ in 0..3 {
        rig.deploy(&site).await;
    }
    assert_eq!(statuses(&rig, &site).await, [Status::Queued; 3]);
    assert_eq!(rig.queue.depth().await.unwrap(), 3);
}

async fn keep_newest_supersedes_what_waits_and_leaves_what_runs(rig: Rig) {
    let site = rig.site_with("web", QueuePolicy::KeepNewest).await;
    let running = rig.deploy(&site).await;
    let row = rig.claim_next().await;
    assert_eq!(row.id, running);
    let waiting = rig.deploy(&site).await;
    let newest = rig.deploy(&site).await;
    let expected = [Status::Running, Status::Superseded, Status::Queued];
    assert_eq!(statuses(&rig, &site).await, expected);
    let gone = rig.row(waiting).await;
    assert_eq!(gone.superseded_by, Some(newest));
    assert_eq!(gone.reason.as_deref(), Some("superseded"));
    assert!(gone.reason_text.unwrap().contains(&newest.to_string()));
    assert!(gone.finished_at.is_some());
    let places = rig.queue.places(&[waiting, newest]).await.unwrap();
    assert_eq!(
        (places[&waiting], places[&newest]),
        (Place::Absent, Place::Pending)
    );
}

async fn keep_newest_supersedes_one_that_waits_for_its_next_attempt(rig: Rig) {
    let site = rig.site_with("web", QueuePolicy::KeepNewest).await;
    let retrying = rig.deploy(&site).await;
    let row = rig.claim_next().await;
    let failed = RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
    assert_eq!(
        rig.finish_with(&row, failed, 60_000).await,
        Next::Retry(60_000)
    );
    let newest = rig.deploy(&site).await;
    let row = rig.row(retrying).await;
    assert_eq!(
        (row.status, row.superseded_by),
        (Status::Superseded, Some(newest))
    );
    // It gave its target back: the newer one need not wait for a retry that never comes.
    assert_eq!(rig.claim_next().await.id, newest);
    let target = slipway_core::target::store::by_id(rig.ctx.db.reader(), site.target.id).await;
    assert_eq!(target.unwrap().unwrap().holder_id, Some(newest));
}

async fn keep_newest_leaves_other_targets_alone(rig: Rig) {
    let site = rig.site_with("web", QueuePolicy::KeepNewest).await;
    let staging = site.at(rig.target(&site.owner, "web", "staging").await);
    rig.deploy(&site).await;
    rig.deploy(&staging).await;
    assert_eq!(statuses(&rig, &site).await, [Status::Queued; 2]);
}

async fn keep_newest_takes_the_place_of_another_when_the_queue_is_full(rig: Rig) {
    let site = rig.site_with("web", QueuePolicy::KeepNewest).await;
    let other = rig.site("shop").await;
    let ctx = rig.limited(2).await;
    ctx.admission.request(other.wanted()).await.unwrap();
    ctx.admission.request(site.wanted()).await.unwrap();
    let replaced = ctx.admission.request(site.wanted()).await.unwrap();
    assert_eq!(replaced.superseded.len(), 1);
    // On an empty target there is no place to take, and nothing is superseded for a refusal.
    let staging = site.at(rig.target(&site.owner, "web", "staging").await);
    let full = ctx.admission.request(staging.wanted()).await;
    assert!(matches!(full, Err(Error::QueueFull { limit: 2, depth: 2 })));
    assert_eq!(
        statuses(&rig, &site).await,
        [Status::Superseded, Status::Queued]
    );
}

async fn many_at_once_with_keep_newest_leave_one_waiting(rig: Rig) {
    let site = rig.site_with("web", QueuePolicy::KeepNewest).await;
    let requests: Vec<_> = (0..30)
        .map(|_| {
            let (admission, wanted) = (rig.ctx.admission.clone(), site.wanted());
            tokio::spawn(async move { admission.request(wanted).await.unwrap().row.id })
        })
        .collect();
    let mut newest = slipway_core::id::DeploymentId(0);
    for request in requests {
        newest = newest.max(request.await.unwrap());
    }
    let rows = rig.all(&site).await;
    let (waiting, gone): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.status == Status::Queued);
    assert_eq!(
        waiting.iter().map(|row| row.id).collect::<Vec<_>>(),
        [newest]
    );
    assert_eq!(gone.len(), 29);
    assert!(gone.iter().all(|row| row.superseded_by > Some(row.id)));
}

async fn reject_refuses_while_anything_is_open(rig: Rig) {
    let site = rig.site_with("web", QueuePolicy::Reject).await;
    let ask = async || rig.ctx.admission.request(site.wanted()).await;
    let id = ask().await.unwrap().row.id;
    assert_eq!(conflict(ask().await), "target_busy");
    let row = rig.claim(id).await;
    assert_eq!(conflict(ask().await), "target_busy");
    let failed = RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
    rig.finish_with(&row, failed, 60_000).await;
    assert_eq!(conflict(ask().await), "target_busy");
    rig.make_due(id).await;
    let row = rig.claim(id).await;
    rig.finish(&row, RunEnd::Succeeded).await;
    assert!(ask().await.is_ok());
}
