//! The queue's core in simulated time: production's admission, claims, leases, recovery and worker
//! loop over a real SQLite and the index's twin in memory, with seeded faults everywhere between.
//!
//! One seed is one world; it always comes out the same. What is not simulated: MySQL's own locking,
//! Redis and its scripts (the queue's conformance tests compare them with the twin), the network,
//! and what a run really does to its target.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test whose surroundings fail has failed, and a panic is how it says so"
)]

mod clients;
mod database;
mod dice;
mod fleet;
mod index;
mod mutants;
mod nemesis;
mod payload;
mod process;
mod scene;
mod target;
mod verdict;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use mutants::Mutant;
use verdict::run;
use world::Outcome;

/// Seeds after which a mutant has to be found.
const BOUND: u64 = 200;

fn check(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = run(seed, None);
        assert!(outcome.violations.is_empty(), "{}", report(&outcome));
    }
}

fn report(outcome: &Outcome) -> String {
    format!(
        "seed {} fails:\n{}\n{}{}\nreplay it: deploy/simulate.sh --from {} --seeds 1",
        outcome.seed,
        outcome.violations.join("\n"),
        outcome.events,
        outcome.violations.join("\n"),
        outcome.seed
    )
}

#[test]
fn seeds_from_1_hold() {
    check(1..101);
}

#[test]
fn seeds_from_101_hold() {
    check(101..201);
}

#[test]
fn seeds_from_201_hold() {
    check(201..301);
}

#[test]
fn seeds_from_301_hold() {
    check(301..401);
}

#[test]
fn seeds_from_401_hold() {
    check(401..501);
}

#[test]
fn seed_comes_out_the_same_every_time() {
    for seed in 1..6 {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_ne!(first.hash, run(seed + 1, None).hash);
    }
}

/// The seeds are some of those that hold with every protection in place.
fn is_found(mutant: Mutant) {
    for seed in 1..=BOUND {
        let outcome = run(seed, Some(mutant));
        let changed = outcome.counts.get("statements changed by the mutant");
        assert_eq!(changed.is_some(), mutant.rewrites(), "seed {seed}");
        if !outcome.violations.is_empty() {
            return;
        }
    }
    panic!("{BOUND} seeds did not notice");
}

#[test]
fn missing_reconciler_is_found() {
    is_found(Mutant::NoReconciler);
}

#[test]
fn recovery_at_the_start_only_is_found() {
    is_found(Mutant::OnlyBoot);
}

#[test]
fn missing_reaper_is_found() {
    is_found(Mutant::NoReaper);
}

#[test]
fn missing_fence_at_the_target_is_found() {
    is_found(Mutant::NoTargetFence);
}

#[test]
fn missing_deadline_at_the_target_is_found() {
    is_found(Mutant::NoDeadline);
}

#[test]
fn missing_guard_is_found() {
    is_found(Mutant::NoGuard);
}

#[test]
fn missing_slot_and_order_are_found() {
    is_found(Mutant::NoSlotNoOrder);
}

#[test]
fn missing_hold_and_order_are_found() {
    is_found(Mutant::NoHoldNoOrder);
}

#[test]
fn missing_fence_at_the_end_of_a_run_is_found() {
    is_found(Mutant::UnfencedEnd);
}

fn add(all: &mut BTreeMap<&'static str, u64>, counts: BTreeMap<&'static str, u64>) {
    for (what, times) in counts {
        *all.entry(what).or_default() += times;
    }
}

/// As many seeds as `SLIPWAY_TEST_SEEDS` says, from `SLIPWAY_TEST_FIRST_SEED` on, on every core.
#[test]
#[ignore = "runs for as long as it is told to; see deploy/simulate.sh"]
fn as_many_seeds_as_wanted_hold() {
    let number = |name: &str, default| {
        let given = slipway_testkit::variable(name);
        given.map_or(default, |text| text.parse().expect("a whole number"))
    };
    let from = number("SLIPWAY_TEST_FIRST_SEED", 1);
    let seeds = number("SLIPWAY_TEST_SEEDS", 1000);
    let (next, counts) = (AtomicU64::new(from), Mutex::new(BTreeMap::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return;
            }
            let outcome = run(seed, None);
            assert!(outcome.violations.is_empty(), "{}", report(&outcome));
            add(&mut counts.lock().unwrap(), outcome.counts);
            let done = seed - from + 1;
            if done.is_multiple_of(100) {
                println!("{done} of {seeds} seeds");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    println!("{seeds} seeds from {from} on hold:");
    for (what, times) in counts.into_inner().unwrap() {
        println!("{times:10} {what}");
    }
}
