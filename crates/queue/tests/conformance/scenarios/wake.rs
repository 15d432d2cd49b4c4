//! Waiting for work.

use std::{sync::Arc, time::Duration};

use slipway_core::ports::{Authority, Claimed};
use tokio::{task::JoinSet, time::timeout};

use crate::rig::{DEADLINE, LONG, Rig, SOON, entry, token};

async fn assert_waiting_ends(rig: &Rig) {
    timeout(SOON, rig.queue.wait_for_work(LONG))
        .await
        .expect("waiting ends");
}

pub(crate) async fn waiting_ends_when_an_entry_is_added(rig: Rig) {
    let waiting = tokio::spawn({
        let rig = rig.clone();
        async move { assert_waiting_ends(&rig).await }
    });
    rig.add(&[entry(1, 1)]).await;
    waiting.await.unwrap();
}

pub(crate) async fn waiting_ends_when_a_finished_entry_frees_another(rig: Rig) {
    rig.add(&[entry(1, 1)]).await;
    assert_waiting_ends(&rig).await;
    let lease = rig.claim_this(entry(1, 1)).await;
    rig.add(&[entry(2, 1)]).await;
    assert_eq!(rig.claim().await, Claimed::Empty(None));
    rig.queue
        .finish(entry(1, 1), &Authority::Lease(lease))
        .await
        .unwrap();
    assert_waiting_ends(&rig).await;
}

pub(crate) async fn waiting_ends_when_room_is_made_under_the_limit(rig: Rig) {
    rig.add(&[entry(1, 1), entry(2, 2)]).await;
    let lease = rig.claim_this(entry(1, 1)).await;
    let claimed = rig.queue.claim(&token(), LONG, 1).await.unwrap();
    assert_eq!(claimed, Claimed::Busy);
    rig.queue
        .finish(entry(1, 1), &Authority::Lease(lease))
        .await
        .unwrap();
    assert_waiting_ends(&rig).await;
}

pub(crate) async fn waiting_ends_with_its_time(rig: Rig) {
    let waiting = rig.queue.wait_for_work(Duration::from_millis(1));
    timeout(DEADLINE, waiting).await.expect("waiting ends");
}

pub(crate) async fn every_waiter_hears_of_work(rig: Rig) {
    // One entry for each; whoever finishes first goes on to claim, and that tells the next.
    let rig = Arc::new(rig);
    let mut workers = JoinSet::new();
    for _ in 0..3 {
        let rig = Arc::clone(&rig);
        workers.spawn(async move {
            loop {
                if let Claimed::Entry(entry) = rig.claim().await {
                    return entry.id;
                }
                rig.queue.wait_for_work(LONG).await;
            }
        });
    }
    rig.add(&[entry(1, 1), entry(2, 2), entry(3, 3)]).await;
    let all = timeout(DEADLINE, workers.join_all())
        .await
        .expect("everybody finds work");
    assert_eq!(all.len(), 3);
}
