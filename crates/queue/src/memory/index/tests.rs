//! States that the index cannot reach by itself and must still put right.

use super::{rebuild::REBUILD_LOCK, *};

const TARGET: TargetId = TargetId(7);
const PRIORITY: Priority = Priority::Manual;

fn entry(id: i64) -> Entry {
    Entry {
        id: DeploymentId(id),
        target: TARGET,
        priority: PRIORITY,
    }
}

fn index_with(ids: &[i64]) -> Index {
    let mut index = Index {
        complete: true,
        ..Index::default()
    };
    for id in ids {
        let added = index.enqueue(entry(*id), None);
        assert!(matches!(added, Enqueued::Added { .. }), "{added:?}");
    }
    index
}

fn claim(index: &mut Index) -> Claimed {
    let token = LeaseToken::random().expect("random bytes");
    let claimed = index.claim_many(&[token], Duration::from_secs(60), 10, Instant::now());
    claimed.into_iter().next().unwrap()
}

#[test]
fn repair_frees_a_target_whose_running_entry_has_no_lease() {
    let mut index = index_with(&[1, 2]);
    claim(&mut index);
    index.leases.clear();
    assert_eq!(index.place(DeploymentId(1)), Place::Adrift);
    assert_eq!(claim(&mut index), Claimed::Empty(None));

    assert!(index.repair(TARGET));
    assert!(!index.repair(TARGET));
    assert_eq!(claim(&mut index), Claimed::Entry(entry(2)));
}

#[test]
fn repair_frees_a_target_held_for_an_entry_that_is_not_delayed() {
    let mut index = index_with(&[1, 2]);
    claim(&mut index);
    index.retry(
        DeploymentId(1),
        &Authority::Database,
        Instant::now() + REBUILD_LOCK,
    );
    index.delayed.clear();

    assert!(index.repair(TARGET));
    assert_eq!(index.states.get(&TARGET), Some(&State::Ready(PRIORITY)));
}

#[test]
fn repair_lists_a_ready_target_exactly_once() {
    for rounds in [0, 2, 3] {
        let mut index = index_with(&[1]);
        index.ready = Rounds::default();
        for _ in 0..rounds {
            index.ready.join(TARGET, PRIORITY);
        }
        assert!(index.repair(TARGET));
        assert!(index.ready.holds_only_in(TARGET, Some(PRIORITY)));
    }
}

#[test]
fn repair_moves_a_target_to_the_round_of_its_next_entry() {
    let mut index = index_with(&[1]);
    index.ready.remove(TARGET);
    index.ready.join(TARGET, Priority::Automatic);
    assert!(index.repair(TARGET));
    assert!(index.ready.holds_only_in(TARGET, Some(PRIORITY)));
}

#[test]
fn repair_blocks_a_target_whose_running_entry_was_forgotten() {
    let mut index = index_with(&[1]);
    claim(&mut index);
    index.states.clear();
    index.enqueue(entry(2), None);

    assert!(index.repair(TARGET));
    assert_eq!(claim(&mut index), Claimed::Empty(None));
}

#[test]
fn a_limited_listing_goes_on_where_the_last_one_ended() {
    let mut index = index_with(&[1, 2, 3]);
    let mut page = || {
        let entries = index.entries(2);
        entries.iter().map(|entry| entry.id.0).collect::<Vec<_>>()
    };
    assert_eq!(page(), [1, 2]);
    assert_eq!(page(), [3, 1]);
    assert_eq!(page(), [2, 3]);
}

#[test]
fn a_rebuild_that_stands_still_gives_way_to_another() {
    let start = Instant::now();
    let entry = entry(1);
    let mut index = Index::default();
    assert!(index.begin_rebuild(start));
    let late = start + REBUILD_LOCK;
    assert!(index.restore(entry, None, late).is_err());
    assert!(index.end_rebuild(late).is_err());
    assert!(index.begin_rebuild(late));
    assert!(index.restore(entry, None, late + REBUILD_LOCK / 2).is_ok());
    assert!(index.end_rebuild(late + REBUILD_LOCK).is_ok());
    assert_eq!(index.depth(), 1);
}

#[test]
fn rebuild_whose_process_died_is_taken_over_as_soon_on_redis_and_within_the_promised_time() {
    let script = include_str!("../../redis/lua/shared.lua");
    let line = format!("local REBUILD_LOCK_MS = {}\n", REBUILD_LOCK.as_millis());
    assert!(script.contains(&line), "{line}");
    // Ten seconds are promised until deployments start again after Redis was emptied.
    assert!(REBUILD_LOCK <= Duration::from_secs(5));
}
