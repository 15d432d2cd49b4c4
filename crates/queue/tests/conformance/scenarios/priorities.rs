//! Who goes first when targets compete, and that nobody waits for ever. Counted in claims.

use std::collections::HashMap;

use slipway_core::{
    deployment::priority::Priority::{Automatic, Manual, Rollback},
    ports::{Authority, Claimed, Enqueued, Entry, PASSED_OVER_MAX},
};

use crate::rig::{LONG, Rig, entry, ranked, token};

async fn finish(rig: &Rig, entry: Entry) {
    rig.queue.finish(entry, &Authority::Database).await.unwrap();
}

/// Claims and finishes the next entry.
async fn run_next(rig: &Rig) -> Entry {
    let claimed = rig.claim().await;
    let Claimed::Entry(entry) = claimed else {
        panic!("{claimed:?}");
    };
    finish(rig, entry).await;
    entry
}

pub(crate) async fn the_most_urgent_target_goes_first(rig: Rig) {
    let (push, person, rollback) = (
        ranked(1, 1, Automatic),
        ranked(2, 2, Manual),
        ranked(3, 3, Rollback),
    );
    rig.add(&[push, person, rollback]).await;
    for expected in [rollback, person, push] {
        let lease = rig.claim_this(expected).await;
        let again = rig.queue.claim(&lease, LONG, 1).await.unwrap();
        assert_eq!(again, Claimed::Entry(expected));
    }
}

pub(crate) async fn order_within_a_target_is_by_id_whatever_the_priorities(rig: Rig) {
    let line = [
        ranked(1, 1, Automatic),
        ranked(2, 1, Rollback),
        ranked(3, 1, Manual),
    ];
    rig.add(&[line[2], line[0], line[1]]).await;
    for expected in line {
        assert_eq!(run_next(&rig).await, expected);
    }
}

pub(crate) async fn a_target_competes_with_the_priority_of_its_next_entry(rig: Rig) {
    let (push, rollback) = (ranked(1, 1, Automatic), ranked(2, 1, Rollback));
    let (person, other) = (ranked(3, 2, Manual), ranked(4, 3, Manual));
    rig.add(&[push, rollback, person, other]).await;
    assert_eq!(run_next(&rig).await, person);
    finish(&rig, push).await;
    assert_eq!(run_next(&rig).await, rollback);

    // And the other way round: an older entry that comes back brings its own priority.
    let urgent = ranked(6, 1, Rollback);
    rig.add(&[urgent]).await;
    rig.add(&[ranked(5, 1, Automatic)]).await;
    assert_eq!(run_next(&rig).await, other);
    assert_eq!(run_next(&rig).await.id.0, 5);
    assert_eq!(run_next(&rig).await, urgent);
    for target in [1, 2, 3] {
        assert!(!rig.queue.repair(entry(0, target).target).await.unwrap());
    }
}

pub(crate) async fn nothing_waits_for_ever_behind_a_steady_stream_of_urgent_work(rig: Rig) {
    let classes = [Rollback, Manual, Automatic];
    let mut id = 0;
    let mut next = |target: i64, priority| {
        id += 1;
        ranked(id, target, priority)
    };
    for priority in classes {
        let target = i64::from(priority.rank()) * 10;
        let entries = [
            next(target, priority),
            next(target + 1, priority),
            next(target + 2, priority),
        ];
        rig.add(&entries).await;
    }
    let mut since: HashMap<_, u32> = classes.map(|class| (class, 0)).into();
    let mut share: HashMap<_, u32> = since.clone();
    for _ in 0..100 {
        let ran = run_next(&rig).await;
        // Each target has something new at once, so every class always waits.
        rig.add(&[next(ran.target.0, ran.priority)]).await;
        for (class, claims) in &mut since {
            *claims = if *class == ran.priority {
                0
            } else {
                *claims + 1
            };
            assert!(*claims <= PASSED_OVER_MAX + 1, "{class:?}");
        }
        *share.entry(ran.priority).or_default() += 1;
    }
    assert_eq!(
        classes.map(|class| share[&class]),
        [60, 20, 20],
        "the urgent ones get the most"
    );
}

pub(crate) async fn a_share_that_is_due_goes_to_a_waiting_target_only(rig: Rig) {
    let push = ranked(1, 1, Automatic);
    rig.add(&[push]).await;
    for id in 2..5 {
        rig.add(&[ranked(id, 2, Rollback)]).await;
        assert_eq!(run_next(&rig).await.id.0, id);
    }
    // The one that was passed over is gone: its share is nobody's.
    finish(&rig, push).await;
    let (rollback, person) = (ranked(5, 2, Rollback), ranked(6, 3, Manual));
    rig.add(&[person, rollback]).await;
    assert_eq!(run_next(&rig).await, rollback);
    assert_eq!(run_next(&rig).await, person);
    // And once nobody waits, nobody has waited.
    assert_eq!(rig.claim().await, Claimed::Empty(None));
    let (rollback, push) = (ranked(7, 2, Rollback), ranked(8, 1, Automatic));
    rig.add(&[push, rollback]).await;
    assert_eq!(run_next(&rig).await, rollback);
}

pub(crate) async fn a_known_entry_takes_another_priority_wherever_it_is(rig: Rig) {
    let (wrong, right) = (ranked(1, 1, Automatic), ranked(1, 1, Rollback));
    rig.add(&[wrong, ranked(2, 2, Manual)]).await;
    let known = rig.queue.enqueue(right, false).await.unwrap();
    assert_eq!(known, Enqueued::Duplicate);
    rig.claim_this(right).await;

    let known = rig.queue.enqueue(wrong, false).await.unwrap();
    assert_eq!(known, Enqueued::Duplicate);
    rig.queue.hold(right, &token(), LONG).await.unwrap();
    assert!(rig.queue.entries(10).await.unwrap().contains(&right));
    assert!(!rig.queue.repair(right.target).await.unwrap());
}

pub(crate) async fn a_rebuild_keeps_priorities(rig: Rig) {
    rig.wipe().await;
    assert!(rig.queue.begin_rebuild().await.unwrap());
    let all = [
        ranked(1, 1, Automatic),
        ranked(2, 2, Manual),
        ranked(3, 3, Rollback),
    ];
    for entry in all {
        rig.queue.restore(entry, None).await.unwrap();
    }
    let running = ranked(4, 4, Rollback);
    let lease = token();
    let restored = rig.queue.restore(running, Some((&lease, LONG))).await;
    restored.unwrap();
    rig.queue.end_rebuild().await.unwrap();
    let held = rig.queue.claim(&lease, LONG, 1).await.unwrap();
    assert_eq!(held, Claimed::Entry(running));
    for expected in all.into_iter().rev() {
        assert_eq!(run_next(&rig).await, expected);
    }
}

pub(crate) async fn a_crowded_target_costs_the_others_nothing(rig: Rig) {
    const TARGETS: i64 = 200;
    let crowd: Vec<Entry> = (1..=1000).map(|id| entry(id, 1)).collect();
    rig.add(&crowd).await;
    let others: Vec<Entry> = (2..=TARGETS)
        .map(|target| entry(1000 + target, target))
        .collect();
    rig.add(&others).await;
    let mut ran = Vec::new();
    // One turn each: the crowd's first, then every other target's only one.
    for _ in 0..TARGETS {
        ran.push(run_next(&rig).await);
    }
    assert_eq!(ran[0], crowd[0]);
    assert_eq!(ran[1..], others);
    // A newcomer waits for one turn of the crowd at most.
    let late = entry(5000, 7);
    rig.add(&[late]).await;
    let next = [run_next(&rig).await, run_next(&rig).await];
    assert!(next.contains(&late), "{next:?}");
}
