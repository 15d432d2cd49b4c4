//! Losing all data, and putting it back.

use std::time::Duration;

use slipway_core::ports::{Authority, Claimed, Place, QueueError};

use crate::rig::{LONG, MANY, Rig, entry, token};

fn is_lost<T>(answer: &Result<T, QueueError>) -> bool {
    matches!(answer, Err(QueueError::Lost))
}

async fn assert_everything_is_lost(rig: &Rig) {
    let (queue, one) = (&rig.queue, entry(1, 1));
    let by = Authority::Database;
    assert!(is_lost(&queue.enqueue(one, true).await));
    assert!(is_lost(&queue.claim(&token(), LONG, MANY).await));
    assert!(is_lost(&queue.finish(one, &by).await));
    assert!(is_lost(&queue.retry(one, &by, Duration::ZERO).await));
    assert!(is_lost(&queue.requeue(one, &by).await));
    assert!(is_lost(&queue.hold(one, &token(), LONG).await));
    assert!(is_lost(&queue.renew(&[(one.id, token())], LONG).await));
    assert!(is_lost(&queue.repair(one.target).await));
    assert!(is_lost(&queue.places(&[one.id]).await));
    assert!(is_lost(&queue.entries(10).await));
    assert!(is_lost(&queue.targets().await));
    assert!(is_lost(&queue.depth().await));
    assert!(is_lost(&queue.probe().await));
}

pub(crate) async fn a_new_index_is_lost(rig: Rig) {
    rig.queue.probe().await.unwrap();
    rig.wipe().await;
    assert_everything_is_lost(&rig).await;
    rig.rebuild_empty().await;
    rig.queue.probe().await.unwrap();
    assert_eq!(rig.claim().await, Claimed::Empty(None));
}

pub(crate) async fn a_wiped_index_answers_lost_to_everything(rig: Rig) {
    rig.add(&[entry(1, 1), entry(2, 1)]).await;
    rig.claim_this(entry(1, 1)).await;
    rig.wipe().await;
    assert_everything_is_lost(&rig).await;
    assert!(rig.queue.begin_rebuild().await.unwrap());
    assert_everything_is_lost(&rig).await;
}

pub(crate) async fn a_rebuild_restores_order_and_leases(rig: Rig) {
    rig.add(&[entry(8, 3), entry(9, 3)]).await;
    rig.wipe().await;
    assert!(rig.queue.begin_rebuild().await.unwrap());
    let (running, lease) = (entry(1, 1), token());
    rig.queue
        .restore(running, Some((&lease, LONG)))
        .await
        .unwrap();
    for waiting in [entry(2, 1), entry(4, 2), entry(3, 2), entry(3, 2)] {
        rig.queue.restore(waiting, None).await.unwrap();
    }
    rig.queue.end_rebuild().await.unwrap();

    assert_eq!(rig.queue.depth().await.unwrap(), 4);
    assert_eq!(
        rig.places(&[running, entry(8, 3)]).await,
        [Place::Leased, Place::Absent]
    );
    let lost = rig
        .queue
        .renew(&[(running.id, lease.clone())], LONG)
        .await
        .unwrap();
    assert_eq!(lost, []);
    rig.claim_this(entry(3, 2)).await;
    assert_eq!(rig.claim().await, Claimed::Empty(None));
    rig.queue
        .finish(running, &Authority::Lease(lease))
        .await
        .unwrap();
    rig.claim_this(entry(2, 1)).await;
}

pub(crate) async fn one_of_two_rebuilds_wins(rig: Rig) {
    rig.wipe().await;
    let (one, other) = tokio::join!(rig.queue.begin_rebuild(), rig.queue.begin_rebuild());
    assert_ne!(one.unwrap(), other.unwrap());
    assert!(!rig.queue.begin_rebuild().await.unwrap());
}

pub(crate) async fn an_index_that_is_not_lost_is_not_rebuilt(rig: Rig) {
    rig.add(&[entry(1, 1)]).await;
    assert!(!rig.queue.begin_rebuild().await.unwrap());
    rig.queue.end_rebuild().await.unwrap();
    assert_eq!(rig.queue.depth().await.unwrap(), 1);
}

pub(crate) async fn restoring_outside_a_rebuild_is_refused(rig: Rig) {
    assert!(is_lost(&rig.queue.restore(entry(1, 1), None).await));
    assert_eq!(rig.queue.depth().await.unwrap(), 0);
    rig.wipe().await;
    assert!(is_lost(&rig.queue.restore(entry(1, 1), None).await));
    assert!(is_lost(&rig.queue.end_rebuild().await));
}

pub(crate) async fn a_sound_index_needs_no_repair(rig: Rig) {
    let (busy, held, ready) = (entry(1, 1), entry(2, 2), entry(3, 3));
    rig.add(&[busy, held]).await;
    rig.claim_this(busy).await;
    let lease = rig.claim_this(held).await;
    rig.queue
        .retry(held, &Authority::Lease(lease), LONG)
        .await
        .unwrap();
    rig.add(&[ready, entry(4, 1), entry(5, 2)]).await;
    for target in [1, 2, 3, 4] {
        assert!(
            !rig.queue.repair(entry(0, target).target).await.unwrap(),
            "{target}"
        );
    }
}
