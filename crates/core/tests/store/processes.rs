//! The register of processes, and the duty that removes what is out of date.

use std::time::Duration;

use slipway_core::{
    db,
    deployment::{run::RunEnd, service::request, status::Status},
    field::IdempotencyKey,
    process::{
        counters::{Cause, Counted},
        duty,
        entity::ProcessKind,
        store::{self, Capacity},
    },
    recovery::{
        duties::Duties,
        reaper::reap,
        tidy::{self, Tidied},
    },
};

use crate::rig::{LEASE, Rig, deploy_input};

on_both! {
    a_process_is_known_from_its_start_to_its_end,
    a_process_that_is_not_heard_of_has_no_places,
    a_process_publishes_what_it_counts,
    what_is_out_of_date_is_removed,
}

async fn a_process_is_known_from_its_start_to_its_end(rig: Rig) {
    let duties = Duties::start(&rig.ctx, ProcessKind::Worker).await.unwrap();
    let known = store::list(rig.ctx.db.reader()).await.unwrap();
    let [process] = known.as_slice() else {
        panic!("{known:?}");
    };
    assert_eq!(process.name, rig.ctx.process.name);
    assert_eq!(process.kind, ProcessKind::Worker);
    assert_eq!(process.pid, i64::from(std::process::id()));
    assert_eq!(process.concurrency, 5);
    assert!(!process.draining);

    rig.ctx.process.drain();
    slipway_testkit::eventually(Duration::from_secs(20), async || {
        let known = store::list(rig.ctx.db.reader()).await.unwrap();
        known[0].draining.then_some(()).ok_or("it takes work")
    })
    .await;
    duties.end().await;
    assert_eq!(store::list(rig.ctx.db.reader()).await.unwrap(), []);
}

async fn a_process_that_is_not_heard_of_has_no_places(rig: Rig) {
    let capacity = async || store::capacity(rig.ctx.db.reader(), LEASE).await.unwrap();
    duty::announce(&rig.ctx, ProcessKind::Api).await;
    assert_eq!(capacity().await, Capacity::default());
    let (other, _) = rig.restarted(|_| {}).await;
    duty::announce(&other, ProcessKind::Up).await;
    let known = Capacity {
        workers: 1,
        places: 5,
    };
    assert_eq!(capacity().await, known);
    rig.execute("UPDATE processes SET seen_us = ?", [1.into()])
        .await;
    assert_eq!(capacity().await, Capacity::default());
    // It was only slow.
    duty::announce(&other, ProcessKind::Up).await;
    assert_eq!(capacity().await, known);
    other.process.drain();
    duty::announce(&other, ProcessKind::Up).await;
    assert_eq!(capacity().await, Capacity::default());
    assert_eq!(store::list(rig.ctx.db.reader()).await.unwrap().len(), 2);
}

async fn a_process_publishes_what_it_counts(rig: Rig) {
    let site = rig.site("web").await;
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let row = rig.claim(first).await;
    rig.ctx.process.counters.started(&row);
    rig.expire(first).await;
    assert_eq!(reap(&rig.ctx, db::now()).await.unwrap(), 1);
    let row = rig.claim(first).await;
    rig.ctx.process.counters.started(&row);
    rig.finish(&row, RunEnd::Succeeded).await;
    slipway_core::deployment::service::cancel(&rig.ctx, &site.owner, second, db::now())
        .await
        .unwrap();
    duty::announce(&rig.ctx, ProcessKind::Worker).await;

    let known = store::list(rig.ctx.db.reader()).await.unwrap();
    let counted: Counted = serde_json::from_str(&known[0].counters).unwrap();
    let recovered = |cause: Cause| counted.recoveries[cause.as_str()];
    assert_eq!(recovered(Cause::WorkerLost), 1);
    assert_eq!(recovered(Cause::Rebuilt), 1, "the empty index at the start");
    let ended = |status: Status| counted.ended[status.as_str()];
    assert_eq!(ended(Status::Succeeded), 1);
    assert_eq!(ended(Status::Cancelled), 1);
    assert_eq!(ended(Status::Failed), 0);
    assert_eq!(
        counted.started.iter().sum::<u64>(),
        1,
        "only the first start"
    );
}

async fn what_is_out_of_date_is_removed(rig: Rig) {
    let site = rig.site("web").await;
    let keyed = |key: &str| {
        let mut input = deploy_input("live");
        input.key = Some(key.parse::<IdempotencyKey>().unwrap());
        input
    };
    for key in ["a", "b"] {
        request(&rig.ctx, &site.owner, "web", keyed(key))
            .await
            .unwrap();
    }
    duty::announce(&rig.ctx, ProcessKind::Worker).await;
    let now = db::now();
    let tidied = tidy::run_once(&rig.ctx, now).await.unwrap();
    assert_eq!(tidied, Tidied::default());

    rig.execute("UPDATE processes SET seen_us = ?", [1.into()])
        .await;
    let later = now + tidy::KEYS_KEPT + chrono::Duration::minutes(1);
    let tidied = tidy::run_once(&rig.ctx, later).await.unwrap();
    let expected = Tidied {
        keys: 2,
        locks: 0,
        processes: 1,
        audit: 0,
        notices: 0,
    };
    assert_eq!(tidied, expected);
    // The deployments stay; the key means a new one from now on.
    let again = request(&rig.ctx, &site.owner, "web", keyed("a")).await;
    assert_eq!(rig.all(&site).await.len(), 3, "{:?}", again.unwrap().row.id);
}
