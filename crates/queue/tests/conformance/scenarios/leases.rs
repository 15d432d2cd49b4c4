//! Who holds an entry, for how long, and what happens when nobody does any more.

use std::time::Duration;

use slipway_core::ports::{Authority, Claimed, Place, Released};
use tokio::time::timeout;

use crate::rig::{DEADLINE, LONG, MANY, Rig, entry, token};

pub(crate) async fn a_repeated_claim_gets_the_same_entry(rig: Rig) {
    rig.add(&[entry(1, 1), entry(2, 2)]).await;
    let lease = rig.claim_this(entry(1, 1)).await;
    for _ in 0..3 {
        // Also when nothing more may run: the caller holds this one already.
        let again = rig.queue.claim(&lease, LONG, 1).await.unwrap();
        assert_eq!(again, Claimed::Entry(entry(1, 1)));
    }
    assert_eq!(rig.places(&[entry(2, 2)]).await, [Place::Pending]);
}

pub(crate) async fn no_more_run_than_may(rig: Rig) {
    rig.add(&[entry(1, 1), entry(2, 2), entry(3, 3)]).await;
    let first = rig.claim_this(entry(1, 1)).await;
    rig.claim_this(entry(2, 2)).await;
    let claimed = rig.queue.claim(&token(), LONG, 2).await.unwrap();
    assert_eq!(claimed, Claimed::Busy);
    rig.queue
        .finish(entry(1, 1), &Authority::Lease(first))
        .await
        .unwrap();
    let claimed = rig.queue.claim(&token(), LONG, 2).await.unwrap();
    assert_eq!(claimed, Claimed::Entry(entry(3, 3)));
}

pub(crate) async fn only_the_holder_of_a_lease_may_let_go_of_it(rig: Rig) {
    let only = entry(1, 1);
    rig.add(&[only]).await;
    let lease = rig.claim_this(only).await;
    let stranger = Authority::Lease(token());
    assert_eq!(
        rig.queue.finish(only, &stranger).await.unwrap(),
        Released::Stale
    );
    assert_eq!(
        rig.queue.retry(only, &stranger, LONG).await.unwrap(),
        Released::Stale
    );
    assert_eq!(
        rig.queue.requeue(only, &stranger).await.unwrap(),
        Released::Stale
    );
    assert_eq!(rig.places(&[only]).await, [Place::Leased]);

    let holder = Authority::Lease(lease);
    assert_eq!(
        rig.queue.requeue(only, &holder).await.unwrap(),
        Released::Done
    );
    assert_eq!(
        rig.queue.requeue(only, &holder).await.unwrap(),
        Released::Stale
    );
    let absent = rig
        .queue
        .finish(entry(9, 1), &Authority::Database)
        .await
        .unwrap();
    assert_eq!(absent, Released::Gone);
}

pub(crate) async fn a_lease_that_ran_out_is_given_back_in_its_place(rig: Rig) {
    let (first, second) = (entry(1, 1), entry(2, 1));
    rig.add(&[first, second]).await;
    let lost = token();
    let claimed = rig
        .queue
        .claim(&lost, Duration::from_millis(20), MANY)
        .await
        .unwrap();
    assert_eq!(claimed, Claimed::Entry(first));

    let claim_until_given_back = async {
        loop {
            match rig.claim().await {
                Claimed::Entry(entry) => return entry,
                Claimed::Empty(_) | Claimed::Busy => tokio::task::yield_now().await,
            }
        }
    };
    let given_back = timeout(DEADLINE, claim_until_given_back).await.unwrap();
    assert_eq!(given_back, first);
    let late = rig
        .queue
        .finish(first, &Authority::Lease(lost))
        .await
        .unwrap();
    assert_eq!(late, Released::Stale);
}

pub(crate) async fn renewing_keeps_a_lease_and_names_the_lost_ones(rig: Rig) {
    let kept = entry(1, 1);
    rig.add(&[kept, entry(2, 2), entry(3, 3)]).await;
    let mine = token();
    rig.queue.claim(&mine, Duration::ZERO, MANY).await.unwrap();
    let (stranger, absent) = ((entry(2, 2).id, token()), (entry(9, 9).id, token()));
    let leases = [(kept.id, mine.clone()), stranger, absent];
    let mut lost = rig.queue.renew(&leases, LONG).await.unwrap();
    lost.sort();
    assert_eq!(lost, [entry(2, 2).id, entry(9, 9).id]);

    rig.claim_this(entry(2, 2)).await;
    rig.claim_this(entry(3, 3)).await;
    assert_eq!(rig.claim().await, Claimed::Empty(None));
    let done = rig
        .queue
        .finish(kept, &Authority::Lease(mine))
        .await
        .unwrap();
    assert_eq!(done, Released::Done);
}

pub(crate) async fn a_late_renewal_counts_while_nobody_has_taken_the_entry(rig: Rig) {
    let only = entry(1, 1);
    rig.add(&[only]).await;
    let mine = token();
    rig.queue.claim(&mine, Duration::ZERO, MANY).await.unwrap();
    let lost = rig
        .queue
        .renew(&[(only.id, mine.clone())], Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(lost, []);

    let taken = rig.claim_this(only).await;
    let lost = rig.queue.renew(&[(only.id, mine)], LONG).await.unwrap();
    assert_eq!(lost, [only.id]);
    let lost = rig.queue.renew(&[(only.id, taken)], LONG).await.unwrap();
    assert_eq!(lost, []);
}

pub(crate) async fn a_held_entry_blocks_its_target(rig: Rig) {
    let (running, next) = (entry(1, 1), entry(2, 1));
    let lease = token();
    rig.queue.hold(running, &lease, LONG).await.unwrap();
    rig.add(&[next]).await;
    assert_eq!(rig.claim().await, Claimed::Empty(None));
    assert_eq!(
        rig.places(&[running, next]).await,
        [Place::Leased, Place::Pending]
    );
    rig.queue
        .finish(running, &Authority::Lease(lease))
        .await
        .unwrap();
    rig.claim_this(next).await;
}

pub(crate) async fn holding_moves_an_entry_from_wherever_it_is(rig: Rig) {
    let (waiting, delayed, leased) = (entry(1, 1), entry(2, 2), entry(3, 3));
    rig.add(&[delayed, leased]).await;
    let lease = rig.claim_this(delayed).await;
    rig.queue
        .retry(delayed, &Authority::Lease(lease), LONG)
        .await
        .unwrap();
    let old = rig.claim_this(leased).await;
    rig.add(&[waiting]).await;

    let all = [waiting, delayed, leased];
    for entry in all {
        let lease = token();
        rig.queue.hold(entry, &lease, LONG).await.unwrap();
        rig.queue.hold(entry, &lease, LONG).await.unwrap();
        assert!(!rig.queue.repair(entry.target).await.unwrap());
    }
    assert_eq!(rig.places(&all).await, [Place::Leased; 3]);
    assert_eq!(rig.queue.depth().await.unwrap(), 3);
    assert_eq!(rig.claim().await, Claimed::Empty(None));
    let stale = rig
        .queue
        .finish(leased, &Authority::Lease(old))
        .await
        .unwrap();
    assert_eq!(stale, Released::Stale);
}
