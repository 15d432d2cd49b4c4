//! Putting the dispatch index right from the database: piece by piece, and from nothing.

use std::time::Duration;

use slipway_core::{
    deployment::{
        priority::Priority,
        reason::{Code, Reason},
        run::RunEnd,
        status::Status,
        trigger::Trigger,
    },
    id::{DeploymentId, TargetId},
    ports::{Authority, Claimed, Entry, JobQueue as _, Place, QueueError},
    process::entity::ProcessKind,
    recovery::{
        duties::{Duties, probe_once},
        rebuild::{self, Rebuilt},
        reconciler::{self, Mended},
    },
};

use crate::rig::{LEASE, Rig, Site, minutes_later, token};

on_both! {
    an_index_that_agrees_is_left_alone,
    what_is_missing_is_pushed_in_order,
    what_has_ended_or_never_was_is_removed,
    what_runs_is_held,
    a_wrong_priority_is_put_right,
    a_starting_process_pushes_at_once_what_nobody_pushed,
    a_run_whose_lease_is_over_is_not_held,
    a_delay_is_kept_when_its_entry_is_pushed_again,
    the_reconciler_compares_more_rows_than_one_page,
    a_wiped_index_is_rebuilt_with_order_holds_and_delays,
    a_lost_index_is_noticed_by_the_probe_and_rebuilt,
    only_one_process_rebuilds,
    an_unhealthy_queue_is_told_by_its_probe,
}

async fn reconcile(rig: &Rig) -> Mended {
    let grace = chrono::Duration::seconds(5);
    let mended = reconciler::run_once(&rig.ctx, grace, minutes_later(10)).await;
    mended.unwrap()
}

async fn place(rig: &Rig, id: DeploymentId) -> Place {
    rig.queue.places(&[id]).await.unwrap()[&id]
}

fn entry(site: &Site, id: DeploymentId) -> Entry {
    Entry {
        id,
        target: site.target.id,
        priority: Priority::Manual,
    }
}

async fn fail_for_a_while(rig: &Rig) -> DeploymentId {
    let row = rig.claim_next().await;
    let failed = RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
    rig.finish_with(&row, failed, 60_000).await;
    row.id
}

async fn an_index_that_agrees_is_left_alone(rig: Rig) {
    let site = rig.site("web").await;
    let staging = site.at(rig.target(&site.owner, "web", "staging").await);
    for site in [&site, &staging, &site] {
        rig.deploy(site).await;
    }
    rig.claim_next().await;
    assert_eq!(reconcile(&rig).await, Mended::default());
}

async fn what_is_missing_is_pushed_in_order(rig: Rig) {
    let site = rig.site("web").await;
    let first = rig.deploy_unpushed(&site).await;
    let second = rig.deploy(&site).await;
    let third = rig.deploy_unpushed(&site).await;
    let mended = reconcile(&rig).await;
    assert_eq!((mended.pushed, mended.removed), (2, 0));
    for expected in [first, second, third] {
        let row = rig.claim_next().await;
        assert_eq!(row.id, expected);
        rig.finish(&row, RunEnd::Succeeded).await;
        let done = Authority::Database;
        rig.queue.finish(entry(&site, row.id), &done).await.unwrap();
    }
}

async fn what_has_ended_or_never_was_is_removed(rig: Rig) {
    let site = rig.site("web").await;
    let (ended, next) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let row = rig.claim_next().await;
    assert_eq!(row.id, ended);
    // Its worker died between the database and the index.
    rig.finish(&row, RunEnd::Succeeded).await;
    let stranger = Entry {
        id: DeploymentId(777_777),
        target: TargetId(99),
        priority: Priority::Automatic,
    };
    rig.queue.enqueue(stranger, true).await.unwrap();
    assert_eq!(reconcile(&rig).await.removed, 2);
    assert_eq!(place(&rig, ended).await, Place::Absent);
    assert_eq!(rig.claim_next().await.id, next);
    let claimed = rig.queue.claim(&token(), LEASE, 100).await.unwrap();
    assert_eq!(claimed, Claimed::Empty(None));
}

async fn what_runs_is_held(rig: Rig) {
    let site = rig.site("web").await;
    let (running, next) = (rig.deploy(&site).await, rig.deploy(&site).await);
    rig.claim(running).await;
    assert_eq!(place(&rig, running).await, Place::Pending);
    assert_eq!(reconcile(&rig).await.held, 1);
    assert_eq!(place(&rig, running).await, Place::Leased);
    let claimed = rig.queue.claim(&token(), LEASE, 100).await.unwrap();
    assert_eq!(claimed, Claimed::Empty(None), "{next} waits for {running}");
}

async fn a_wrong_priority_is_put_right(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    let mut wanted = web.wanted();
    wanted.trigger = Trigger::Rollback;
    let rollback = rig.ctx.admission.request(wanted).await.unwrap().row;
    let manual = rig.deploy(&shop).await;
    assert_eq!(rollback.entry().priority, Priority::Rollback);
    let wrong = Entry {
        priority: Priority::Automatic,
        ..rollback.entry()
    };
    rig.queue.enqueue(wrong, true).await.unwrap();
    let mended = reconcile(&rig).await;
    assert_eq!((mended.repaired, mended.pushed), (1, 0));
    assert_eq!(reconcile(&rig).await, Mended::default());
    assert_eq!(rig.claim_next().await.id, rollback.id);
    assert_eq!(rig.claim_next().await.id, manual);
}

async fn a_starting_process_pushes_at_once_what_nobody_pushed(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy_unpushed(&site).await;
    let duties = Duties::start(&rig.ctx, ProcessKind::Api).await.unwrap();
    // The next comparison would come after thirteen seconds or more.
    slipway_testkit::eventually(Duration::from_secs(10), async || {
        match place(&rig, id).await {
            Place::Pending => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(rig.claim_next().await.id, id);
    duties.end().await;
}

async fn a_run_whose_lease_is_over_is_not_held(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    rig.claim(id).await;
    rig.expire(id).await;
    assert_eq!(reconcile(&rig).await.held, 0);
}

async fn a_delay_is_kept_when_its_entry_is_pushed_again(rig: Rig) {
    let site = rig.site("web").await;
    let (retrying, next) = (rig.deploy(&site).await, rig.deploy(&site).await);
    assert_eq!(fail_for_a_while(&rig).await, retrying);
    let by = Authority::Database;
    rig.queue.finish(entry(&site, retrying), &by).await.unwrap();
    assert_eq!(reconcile(&rig).await.pushed, 1);
    assert_eq!(place(&rig, retrying).await, Place::Delayed);
    match rig.queue.claim(&token(), LEASE, 100).await.unwrap() {
        Claimed::Empty(Some(wait)) => assert!(wait > Duration::from_secs(50), "{wait:?}"),
        other => panic!("{next} must not overtake {retrying}: {other:?}"),
    }
}

async fn the_reconciler_compares_more_rows_than_one_page(rig: Rig) {
    let site = rig.site("web").await;
    let requests: Vec<_> = (0..700)
        .map(|_| {
            let (admission, wanted) = (rig.ctx.admission.clone(), site.wanted());
            tokio::spawn(async move { admission.request(wanted).await.unwrap() })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    assert_eq!(reconcile(&rig).await.pushed, 700);
    assert_eq!(rig.queue.depth().await.unwrap(), 700);
    assert_eq!(reconcile(&rig).await, Mended::default());
}

async fn a_wiped_index_is_rebuilt_with_order_holds_and_delays(rig: Rig) {
    let web = rig.site("web").await;
    let (shop, blog) = (rig.site("shop").await, rig.site("blog").await);
    let (retrying, behind) = (rig.deploy(&web).await, rig.deploy(&web).await);
    assert_eq!(fail_for_a_while(&rig).await, retrying);
    let (running, waiting) = (rig.deploy(&shop).await, rig.deploy(&shop).await);
    rig.claim(running).await;
    let (first, second) = (rig.deploy(&blog).await, rig.deploy(&blog).await);
    rig.queue.wipe();
    let lost = rig.queue.claim(&token(), LEASE, 100).await;
    assert!(matches!(lost, Err(QueueError::Lost)));
    assert_eq!(rebuild::run_once(&rig.ctx).await.unwrap(), Rebuilt::Done(6));
    for (id, expected) in [
        (retrying, Place::Delayed),
        (behind, Place::Pending),
        (running, Place::Leased),
        (waiting, Place::Pending),
        (first, Place::Pending),
        (second, Place::Pending),
    ] {
        assert_eq!(place(&rig, id).await, expected, "{id}");
    }
    // Only the one target that is neither held nor busy has anything to give.
    assert_eq!(rig.claim_next().await.id, first);
    match rig.queue.claim(&token(), LEASE, 100).await.unwrap() {
        Claimed::Empty(Some(wait)) => assert!(wait > Duration::from_secs(50), "{wait:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(reconcile(&rig).await, Mended::default());
}

async fn a_lost_index_is_noticed_by_the_probe_and_rebuilt(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    rig.queue.wipe();
    probe_once(&rig.ctx).await;
    assert!(rig.ctx.health.is_healthy());
    assert_eq!(rig.claim_next().await.id, id);
}

async fn only_one_process_rebuilds(rig: Rig) {
    let site = rig.site("web").await;
    for _ in 0..20 {
        rig.deploy(&site).await;
    }
    rig.queue.wipe();
    assert!(rig.queue.begin_rebuild().await.unwrap());
    assert_eq!(
        rebuild::run_once(&rig.ctx).await.unwrap(),
        Rebuilt::Elsewhere
    );
    rig.queue.end_rebuild().await.unwrap();
    // Whatever the other process did not get to, the reconciler brings.
    assert_eq!(reconcile(&rig).await.pushed, 20);
}

async fn an_unhealthy_queue_is_told_by_its_probe(rig: Rig) {
    let site = rig.site("web").await;
    rig.queue.wipe();
    // Another process holds the rebuild, so the index stays lost for a while.
    assert!(rig.queue.begin_rebuild().await.unwrap());
    probe_once(&rig.ctx).await;
    assert!(rig.ctx.health.is_healthy(), "one lost probe is forgiven");
    probe_once(&rig.ctx).await;
    assert!(!rig.ctx.health.is_healthy());
    assert_eq!(
        rig.all(&site)
            .await
            .iter()
            .filter(|row| row.status == Status::Queued)
            .count(),
        0
    );
}
