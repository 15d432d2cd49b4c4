//! Entries that come back: later, with their target held, or at once.

use std::time::Duration;

use slipway_core::ports::{Authority, Claimed, Place, Released};

use crate::rig::{LONG, Rig, entry};

pub(crate) async fn a_retry_keeps_newer_entries_of_its_target_waiting(rig: Rig) {
    let (retried, newer, elsewhere) = (entry(1, 1), entry(2, 1), entry(3, 2));
    rig.add(&[retried, newer, elsewhere]).await;
    let lease = rig.claim_this(retried).await;
    let done = rig
        .queue
        .retry(retried, &Authority::Lease(lease), LONG)
        .await
        .unwrap();
    assert_eq!(done, Released::Done);

    let places = rig.places(&[retried, newer]).await;
    assert_eq!(places, [Place::Delayed, Place::Pending]);
    rig.claim_this(elsewhere).await;
    assert!(matches!(rig.claim().await, Claimed::Empty(Some(_))));
}

pub(crate) async fn a_retry_that_is_due_runs_first(rig: Rig) {
    let (retried, newer) = (entry(1, 1), entry(2, 1));
    rig.add(&[retried, newer]).await;
    let lease = rig.claim_this(retried).await;
    rig.queue
        .retry(retried, &Authority::Lease(lease), Duration::ZERO)
        .await
        .unwrap();
    let lease = rig.claim_this(retried).await;
    rig.queue
        .finish(retried, &Authority::Lease(lease))
        .await
        .unwrap();
    rig.claim_this(newer).await;
}

pub(crate) async fn an_older_entry_runs_before_a_retry_that_is_due(rig: Rig) {
    // The reconciler may find the older row only now; the retry then waits for it, or the two
    // would send each other back for ever.
    let (older, retried) = (entry(1, 1), entry(2, 1));
    rig.add(&[retried]).await;
    let lease = rig.claim_this(retried).await;
    rig.add(&[older]).await;
    rig.queue
        .retry(retried, &Authority::Lease(lease), Duration::ZERO)
        .await
        .unwrap();
    rig.claim_this(older).await;
}

pub(crate) async fn claims_tell_when_the_next_retry_is_due(rig: Rig) {
    rig.add(&[entry(1, 1), entry(2, 2)]).await;
    assert_ne!(rig.claim().await, Claimed::Empty(None));
    assert_ne!(rig.claim().await, Claimed::Empty(None));
    for (id, delay) in [(1, LONG * 2), (2, LONG)] {
        rig.queue
            .retry(entry(id, id), &Authority::Database, delay)
            .await
            .unwrap();
    }
    let Claimed::Empty(Some(wait)) = rig.claim().await else {
        panic!("something is delayed");
    };
    assert!(wait <= LONG && wait > LONG / 2, "{wait:?}");
}

pub(crate) async fn a_requeued_entry_runs_again_at_once(rig: Rig) {
    let (first, second) = (entry(1, 1), entry(2, 1));
    rig.add(&[first, second]).await;
    let lease = rig.claim_this(first).await;
    let done = rig
        .queue
        .requeue(first, &Authority::Lease(lease))
        .await
        .unwrap();
    assert_eq!(done, Released::Done);
    assert_eq!(rig.places(&[first]).await, [Place::Pending]);
    rig.claim_this(first).await;
    assert_eq!(rig.claim().await, Claimed::Empty(None));
}

pub(crate) async fn a_delayed_entry_can_be_requeued_or_finished(rig: Rig) {
    let (first, second, newer) = (entry(1, 1), entry(2, 2), entry(3, 2));
    rig.add(&[first, second, newer]).await;
    for entry in [first, second] {
        rig.claim_this(entry).await;
        rig.queue
            .retry(entry, &Authority::Database, LONG)
            .await
            .unwrap();
    }
    assert!(matches!(rig.claim().await, Claimed::Empty(Some(_))));
    rig.queue
        .requeue(first, &Authority::Database)
        .await
        .unwrap();
    rig.claim_this(first).await;
    rig.queue
        .finish(second, &Authority::Database)
        .await
        .unwrap();
    rig.claim_this(newer).await;
    assert_eq!(rig.claim().await, Claimed::Empty(None));
}
