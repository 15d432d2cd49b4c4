//! Who holds an entry, for how long, and what happens when nobody does any more.

use std::time::Duration;

use slipway_core::{
    deployment::priority::Priority,
    ports::{Authority, Claimed, LeaseToken, Place, Released},
};
use tokio::time::timeout;

use crate::rig::{DEADLINE, LONG, MANY, Rig, entry, ranked, token};

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

async fn claim_with(rig: &Rig, tokens: &[LeaseToken], max_running: u32) -> Vec<Claimed> {
    let claimed = rig.queue.claim_many(tokens, LONG, max_running).await;
    claimed.unwrap()
}

/// Each entry is its own token's, and goes in the order in which it would alone.
pub(crate) async fn claims_made_together_are_those_made_one_by_one(rig: Rig) {
    let all = [
        ranked(1, 1, Priority::Automatic),
        ranked(2, 2, Priority::Manual),
        ranked(3, 3, Priority::Rollback),
        ranked(4, 4, Priority::Manual),
        ranked(5, 5, Priority::Manual),
        ranked(6, 6, Priority::Manual),
    ];
    let tokens: Vec<LeaseToken> = all.iter().map(|_| token()).collect();
    rig.add(&all).await;
    let together = claim_with(&rig, &tokens, MANY).await;
    for (claimed, token) in together.iter().zip(&tokens) {
        let Claimed::Entry(entry) = claimed else {
            panic!("{together:?}");
        };
        let stranger = Authority::Lease(self::token());
        let holder = Authority::Lease(token.clone());
        let refused = rig.queue.finish(*entry, &stranger).await.unwrap();
        let done = rig.queue.finish(*entry, &holder).await.unwrap();
        assert_eq!((refused, done), (Released::Stale, Released::Done));
    }
    rig.add(&all).await;
    let mut alone = Vec::new();
    for _ in &all {
        alone.push(rig.claim().await);
    }
    assert_eq!(together, alone);
}

pub(crate) async fn claims_made_together_stop_at_the_limit(rig: Rig) {
    let all = [entry(1, 1), entry(2, 2), entry(3, 3), entry(4, 4)];
    rig.add(&all).await;
    rig.claim_this(all[0]).await;
    let tokens = [token(), token(), token(), token()];
    let claimed = claim_with(&rig, &tokens, 3).await;
    let expected = [Claimed::Entry(all[1]), Claimed::Entry(all[2])];
    assert_eq!(claimed[..2], expected);
    assert_eq!(claimed[2..], [Claimed::Busy, Claimed::Busy]);
    assert_eq!(rig.places(&all[3..]).await, [Place::Pending]);
}

pub(crate) async fn repeated_claims_get_the_same_entries_and_the_others_new_ones(rig: Rig) {
    let all = [entry(1, 1), entry(2, 2), entry(3, 3)];
    rig.add(&all).await;
    let (first, second, third, fourth) = (token(), token(), token(), token());
    let tokens = [first.clone(), second.clone()];
    let expected = [Claimed::Entry(all[0]), Claimed::Entry(all[1])];
    assert_eq!(claim_with(&rig, &tokens, MANY).await, expected);
    // Also when nothing more may run: the caller holds these already.
    assert_eq!(claim_with(&rig, &tokens, 2).await, expected);
    let tokens = [third, second, fourth, first];
    let claimed = claim_with(&rig, &tokens, MANY).await;
    let expected = [
        Claimed::Entry(all[2]),
        Claimed::Entry(all[1]),
        Claimed::Empty(None),
        Claimed::Entry(all[0]),
    ];
    assert_eq!(claimed, expected);
}

pub(crate) async fn claims_made_together_take_one_entry_of_a_target(rig: Rig) {
    let all = [entry(1, 1), entry(2, 1), entry(3, 2)];
    rig.add(&all).await;
    let claimed = claim_with(&rig, &[token(), token(), token()], MANY).await;
    let expected = [
        Claimed::Entry(all[0]),
        Claimed::Entry(all[2]),
        Claimed::Empty(None),
    ];
    assert_eq!(claimed, expected);
    assert_eq!(rig.places(&all[1..2]).await, [Place::Pending]);
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
