//! No two encryptions share a nonce, in however many threads and processes.
//!
//! The short form runs with all tests; `SLIPWAY_TEST_NONCES=1000000` makes that many encryptions.

use std::{collections::BTreeMap, env, fs, io::Write as _, thread};

use slipway_core::{
    id::ProjectId,
    vault::{cipher::Binding, key::MasterKey, ring::KeyRing},
};
use slipway_testkit::{Program, variable};

const KEY: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";
const THIS: &str = "nonces::encryptions_in_threads_and_processes_never_share_a_nonce";
const PROCESSES: usize = 2;
const THREADS: usize = 8;

fn encryptions() -> usize {
    variable("SLIPWAY_TEST_NONCES").map_or(32_000, |count| count.parse().expect("a number"))
}

#[test]
fn encryptions_in_threads_and_processes_never_share_a_nonce() {
    if let Some(file) = variable("SLIPWAY_TEST_NONCES_INTO") {
        let mut file = fs::File::create(file).unwrap();
        file.write_all(&encrypted().concat()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |number: usize| folder.path().join(number.to_string());
    let start = |number: usize| {
        Program::new(env::current_exe().unwrap())
            .args(["--exact", THIS])
            .env("SLIPWAY_TEST_NONCES_INTO", file(number))
            .env("SLIPWAY_TEST_NONCES", encryptions().to_string())
            .start()
    };
    let mut processes: Vec<_> = (0..PROCESSES).map(start).collect();
    let mut nonces: Vec<[u8; 12]> = Vec::new();
    for (number, process) in processes.iter_mut().enumerate() {
        let ended = process.wait(std::time::Duration::from_secs(600));
        assert!(ended.success(), "{}", process.logs());
        let bytes = fs::read(file(number)).unwrap();
        nonces.extend(
            bytes
                .chunks_exact(12)
                .map(|nonce| <[u8; 12]>::try_from(nonce).unwrap()),
        );
    }
    let made = encryptions() / PROCESSES / THREADS * PROCESSES * THREADS;
    assert_eq!(nonces.len(), made);
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), made);
}

/// The nonces of this process's share.
fn encrypted() -> Vec<Vec<u8>> {
    let ring = KeyRing::new((1, MasterKey::parse(KEY).unwrap()), BTreeMap::new());
    let share = encryptions() / PROCESSES / THREADS;
    let place = Binding {
        purpose: "slipway/test/v1",
        project: ProjectId(1),
        scope: 0,
        row: 1,
        name: "TOKEN",
        version: 1,
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let seal = |_| ring.seal(1, &place, b"the same value").unwrap().nonce;
                    (0..share).flat_map(seal).collect::<Vec<u8>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}
