//! In which order entries run, and what the index says about them.

use std::{collections::HashSet, time::Duration};

use slipway_core::{
    id::DeploymentId,
    ports::{Authority, Claimed, Enqueued, Holder, Place, Released},
};
use tokio::task::JoinSet;

use crate::rig::{CAP, LONG, MANY, Rig, entry, token};

pub(crate) async fn entries_of_one_target_run_one_at_a_time_in_order_of_id(rig: Rig) {
    // Lists are walked in pieces of a hundred; ids of different lengths must compare as numbers.
    let mut ids: Vec<i64> = (1..=250).map(|n| n * 7).collect();
    ids.sort_by_key(|id| id * 7919 % 251);
    for id in &ids {
        rig.add(&[entry(*id, 1)]).await;
    }
    ids.sort_unstable();
    for id in ids {
        let lease = rig.claim_this(entry(id, 1)).await;
        assert_eq!(rig.claim().await, Claimed::Empty(None));
        let finished = rig
            .queue
            .finish(entry(id, 1), &Authority::Lease(lease))
            .await;
        assert_eq!(finished.unwrap(), Released::Done);
    }
    assert_eq!(rig.queue.depth().await.unwrap(), 0);
}

pub(crate) async fn targets_take_turns(rig: Rig) {
    rig.add(&[
        entry(1, 1),
        entry(2, 1),
        entry(3, 1),
        entry(4, 2),
        entry(5, 2),
        entry(6, 3),
    ])
    .await;
    let turns = [
        entry(1, 1),
        entry(4, 2),
        entry(6, 3),
        entry(2, 1),
        entry(5, 2),
        entry(3, 1),
    ];
    for expected in turns {
        let lease = rig.claim_this(expected).await;
        rig.queue
            .finish(expected, &Authority::Lease(lease))
            .await
            .unwrap();
    }
}

pub(crate) async fn an_entry_is_added_only_once(rig: Rig) {
    let only = entry(1, 1);
    rig.add(&[only]).await;
    assert_eq!(
        rig.queue.enqueue(only, false).await.unwrap(),
        Enqueued::Duplicate
    );
    let lease = rig.claim_this(only).await;
    assert_eq!(
        rig.queue.enqueue(only, true).await.unwrap(),
        Enqueued::Duplicate
    );
    assert_eq!(rig.places(&[only]).await, [Place::Leased]);
    rig.queue
        .finish(only, &Authority::Lease(lease))
        .await
        .unwrap();
    assert_eq!(rig.claim().await, Claimed::Empty(None));
}

pub(crate) async fn an_added_entry_is_told_its_place_in_the_line(rig: Rig) {
    let mut places = Vec::new();
    for (id, target) in [(1, 1), (2, 1), (3, 2), (9, 1), (4, 1)] {
        places.push(rig.queue.enqueue(entry(id, target), false).await.unwrap());
    }
    let place = |place, holder| Enqueued::Added { place, holder };
    let expected = [1, 2, 1, 3, 3].map(|number| place(number, None));
    assert_eq!(places, expected);
    let lease = rig.claim_this(entry(1, 1)).await;
    let after = rig.queue.enqueue(entry(10, 1), false).await.unwrap();
    let running = Some(Holder::Leased(DeploymentId(1)));
    assert_eq!(after, place(4, running), "what runs is not in the line");
    let later = Duration::from_secs(60);
    let by = Authority::Lease(lease);
    rig.queue.retry(entry(1, 1), &by, later).await.unwrap();
    let last = rig.queue.enqueue(entry(11, 1), false).await.unwrap();
    assert_eq!(last, place(5, Some(Holder::Delayed(DeploymentId(1)))));
}

pub(crate) async fn several_entries_are_added_and_finished_as_one_after_the_other(rig: Rig) {
    let cap = i64::try_from(CAP).unwrap();
    for id in 4..=cap {
        rig.add(&[entry(id, 100)]).await;
    }
    let added = |place| Enqueued::Added {
        place,
        holder: None,
    };
    let several = [(1, 1), (1, 1), (3, 1), (2, 1), (cap + 1, 2)];
    let several = several.map(|(id, target)| entry(id, target));
    let answers = rig.queue.enqueue_all(&several, false).await.unwrap();
    let expected = [added(1), Enqueued::Duplicate, added(2), added(2)];
    assert_eq!(answers[..4], expected);
    assert_eq!(answers[4..], [Enqueued::Full]);
    let by_force = rig.queue.enqueue_all(&several[3..], true).await.unwrap();
    assert_eq!(by_force, [Enqueued::Duplicate, added(1)]);
    assert!(rig.queue.enqueue_all(&[], false).await.unwrap().is_empty());
    let mut ends = Vec::new();
    for (id, target) in [(4, 100), (1, 1), (cap + 1, 2)] {
        let lease = rig.claim_this(entry(id, target)).await;
        ends.push((entry(id, target), Authority::Lease(lease)));
    }
    ends[1].1 = ends[0].1.clone();
    ends.push((entry(99, 1), Authority::Database));
    let finished = rig.queue.finish_all(&ends).await.unwrap();
    let expected = [
        Released::Done,
        Released::Stale,
        Released::Done,
        Released::Gone,
    ];
    assert_eq!(finished, expected);
    let entries: Vec<_> = ends.iter().map(|(entry, _)| *entry).collect();
    assert_eq!(
        rig.places(&entries[..3]).await,
        [Place::Absent, Place::Leased, Place::Absent]
    );
    rig.claim_this(entry(5, 100)).await;
}

pub(crate) async fn a_full_index_takes_an_entry_only_by_force(rig: Rig) {
    let cap = i64::try_from(CAP).unwrap();
    for id in 1..=cap {
        let added = rig.queue.enqueue(entry(id, id), false).await.unwrap();
        let first = Enqueued::Added {
            place: 1,
            holder: None,
        };
        assert_eq!(added, first);
    }
    let next = entry(cap + 1, 1);
    assert_eq!(
        rig.queue.enqueue(next, false).await.unwrap(),
        Enqueued::Full
    );
    assert_eq!(rig.places(&[next]).await, [Place::Absent]);
    assert_eq!(
        rig.queue.enqueue(next, true).await.unwrap(),
        Enqueued::Added {
            place: 2,
            holder: None,
        }
    );
    assert_eq!(rig.queue.depth().await.unwrap(), CAP as u64 + 1);
}

pub(crate) async fn a_finished_entry_can_be_added_again(rig: Rig) {
    let only = entry(1, 1);
    rig.add(&[only]).await;
    let lease = rig.claim_this(only).await;
    rig.queue
        .finish(only, &Authority::Lease(lease.clone()))
        .await
        .unwrap();
    assert_eq!(rig.places(&[only]).await, [Place::Absent]);
    let again = rig
        .queue
        .finish(only, &Authority::Lease(lease.clone()))
        .await
        .unwrap();
    assert_eq!(again, Released::Gone);

    rig.add(&[only]).await;
    let claimed = rig.queue.claim(&lease, LONG, MANY).await.unwrap();
    assert_eq!(claimed, Claimed::Entry(only));
}

pub(crate) async fn a_waiting_entry_can_be_taken_out_by_the_database(rig: Rig) {
    let (first, second) = (entry(1, 1), entry(2, 1));
    rig.add(&[first, second]).await;
    let stranger = Authority::Lease(token());
    assert_eq!(
        rig.queue.finish(first, &stranger).await.unwrap(),
        Released::Stale
    );
    let done = rig.queue.finish(first, &Authority::Database).await.unwrap();
    assert_eq!(done, Released::Done);
    rig.claim_this(second).await;
    rig.queue
        .finish(second, &Authority::Database)
        .await
        .unwrap();
    assert_eq!(rig.queue.targets().await.unwrap(), []);
    assert_eq!(rig.claim().await, Claimed::Empty(None));
}

pub(crate) async fn depth_entries_and_targets_tell_what_there_is(rig: Rig) {
    let all = [entry(1, 1), entry(2, 1), entry(3, 2), entry(4, 3)];
    rig.add(&all).await;
    rig.claim_this(entry(1, 1)).await;
    assert_eq!(rig.queue.depth().await.unwrap(), 4);

    let mut targets = rig.queue.targets().await.unwrap();
    targets.sort();
    assert_eq!(
        targets,
        [entry(0, 1).target, entry(0, 2).target, entry(0, 3).target]
    );

    let mut entries = rig.queue.entries(100).await.unwrap();
    entries.sort_by_key(|entry| entry.id);
    assert_eq!(entries, all);

    // A limited listing still shows everything to a caller who comes back.
    let mut seen = HashSet::new();
    while seen.len() < all.len() {
        let page = rig.queue.entries(3).await.unwrap();
        assert_eq!(page.len(), 3);
        seen.extend(page.into_iter().map(|entry| entry.id));
    }
}

pub(crate) async fn many_claimers_share_the_work_without_overlap(rig: Rig) {
    let ids: HashSet<i64> = (1..=60).collect();
    for id in 1..=60 {
        rig.add(&[entry(id, id % 20)]).await;
    }
    let mut claimers = JoinSet::new();
    for _ in 0..8 {
        let rig = rig.clone();
        claimers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let lease = token();
                match rig.queue.claim(&lease, LONG, MANY).await.unwrap() {
                    Claimed::Entry(entry) => {
                        rig.queue
                            .finish(entry, &Authority::Lease(lease))
                            .await
                            .unwrap();
                        done.push(entry.id.0);
                    }
                    Claimed::Empty(_) | Claimed::Busy => return done,
                }
            }
        });
    }
    let done: Vec<i64> = claimers.join_all().await.concat();
    assert_eq!(done.len(), ids.len());
    assert_eq!(done.into_iter().collect::<HashSet<_>>(), ids);
}
