//! Random sequences of operations, run on both implementations, which must answer alike.
//!
//! Times are either over at once or never, so that the clock takes no part. The environment variable
//! `SLIPWAY_TEST_QUEUE_SEQUENCES` says how many sequences are tried.

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestRunner};
use slipway_core::{
    deployment::priority::Priority,
    id::{DeploymentId, TargetId},
    ports::{Authority, Claimed, Entry, JobQueue, LeaseToken},
};

use crate::rig::{LONG, Rig, ranked};

const IDS: i64 = 12;
const TARGETS: i64 = 4;
const TOKENS: usize = 5;

#[derive(Clone, Debug)]
enum Operation {
    Enqueue {
        id: i64,
        priority: Priority,
        force: bool,
    },
    Claim {
        /// Different ones, in this order.
        tokens: Vec<usize>,
        runs_out: bool,
        max_running: u32,
    },
    Finish {
        id: i64,
        by: Option<usize>,
    },
    Retry {
        id: i64,
        by: Option<usize>,
        due: bool,
    },
    Requeue {
        id: i64,
        by: Option<usize>,
    },
    Hold {
        id: i64,
        priority: Priority,
        token: usize,
        runs_out: bool,
    },
    Renew {
        ids: Vec<(i64, usize)>,
        runs_out: bool,
    },
    Repair {
        target: i64,
    },
    Wipe,
    Begin,
    Restore {
        id: i64,
        priority: Priority,
        lease: Option<usize>,
    },
    End,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let id = || 1..=IDS;
    let token = || 0..TOKENS;
    let tokens = || {
        let all: Vec<usize> = token().collect();
        let some = prop::sample::subsequence(all, 1..=3);
        prop_oneof![2 => token().prop_map(|token| vec![token]), 1 => some.prop_shuffle()]
    };
    let priority = || prop::sample::select(Priority::ALL.to_vec());
    let by = || prop_oneof![2 => token().prop_map(Some), 1 => Just(None)];
    let operation = prop_oneof![
        8 => (id(), priority(), any::<bool>())
            .prop_map(|(id, priority, force)| Operation::Enqueue { id, priority, force }),
        8 => (tokens(), prop::bool::weighted(0.2), 1..=4_u32).prop_map(
            |(tokens, runs_out, max_running)| Operation::Claim { tokens, runs_out, max_running }
        ),
        4 => (id(), by()).prop_map(|(id, by)| Operation::Finish { id, by }),
        4 => (id(), by(), any::<bool>())
            .prop_map(|(id, by, due)| Operation::Retry { id, by, due }),
        3 => (id(), by()).prop_map(|(id, by)| Operation::Requeue { id, by }),
        3 => (id(), priority(), token(), prop::bool::weighted(0.2)).prop_map(
            |(id, priority, token, runs_out)| Operation::Hold { id, priority, token, runs_out }
        ),
        2 => (prop::collection::vec((id(), token()), 1..4), prop::bool::weighted(0.3))
            .prop_map(|(ids, runs_out)| Operation::Renew { ids, runs_out }),
        3 => (1..=TARGETS).prop_map(|target| Operation::Repair { target }),
        1 => prop::sample::select(vec![Operation::Wipe, Operation::Begin, Operation::End]),
        2 => (id(), priority(), prop::option::of(token()))
            .prop_map(|(id, priority, lease)| Operation::Restore { id, priority, lease }),
    ];
    prop::collection::vec(operation, 1..60)
}

/// A deployment belongs to the same target for ever; its priority may have been recorded wrongly.
fn of(id: i64, priority: Priority) -> Entry {
    ranked(id, id % TARGETS + 1, priority)
}

/// The same for what only names it.
fn it(id: i64) -> Entry {
    of(id, Priority::Manual)
}

fn time(runs_out: bool) -> Duration {
    if runs_out { Duration::ZERO } else { LONG }
}

/// What a claim answered, but for how long there is to wait.
fn told(claimed: &Claimed) -> String {
    match claimed {
        Claimed::Empty(wait) => format!("empty {}\n", wait.is_some()),
        Claimed::Entry(_) | Claimed::Busy => format!("{claimed:?}\n"),
    }
}

struct Run<'a> {
    rig: &'a Rig,
    tokens: &'a [LeaseToken],
}

impl Run<'_> {
    fn authority(&self, by: Option<usize>) -> Authority {
        by.map_or(Authority::Database, |token| {
            Authority::Lease(self.tokens[token].clone())
        })
    }

    /// Runs one operation and answers what can be seen of it.
    async fn step(&self, operation: &Operation) -> String {
        let queue = self.rig.queue.as_ref();
        match operation {
            Operation::Enqueue {
                id,
                priority,
                force,
            } => {
                format!("{:?}", queue.enqueue(of(*id, *priority), *force).await)
            }
            Operation::Claim {
                tokens,
                runs_out,
                max_running,
            } => {
                let tokens: Vec<LeaseToken> = tokens
                    .iter()
                    .map(|token| self.tokens[*token].clone())
                    .collect();
                let ttl = time(*runs_out);
                match queue.claim_many(&tokens, ttl, *max_running).await {
                    Ok(claimed) => claimed.iter().map(told).collect(),
                    Err(error) => format!("{error:?}"),
                }
            }
            Operation::Finish { id, by } => {
                format!("{:?}", queue.finish(it(*id), &self.authority(*by)).await)
            }
            Operation::Retry { id, by, due } => {
                let by = self.authority(*by);
                format!("{:?}", queue.retry(it(*id), &by, time(*due)).await)
            }
            Operation::Requeue { id, by } => {
                format!("{:?}", queue.requeue(it(*id), &self.authority(*by)).await)
            }
            Operation::Hold {
                id,
                priority,
                token,
                runs_out,
            } => {
                let token = &self.tokens[*token];
                let held = of(*id, *priority);
                format!("{:?}", queue.hold(held, token, time(*runs_out)).await)
            }
            Operation::Renew { ids, runs_out } => {
                let lease =
                    |(id, token): &(i64, usize)| (DeploymentId(*id), self.tokens[*token].clone());
                let leases: Vec<_> = ids.iter().map(lease).collect();
                format!("{:?}", queue.renew(&leases, time(*runs_out)).await)
            }
            Operation::Repair { target } => {
                format!("{:?}", queue.repair(TargetId(*target)).await)
            }
            Operation::Wipe => {
                self.rig.wipe().await;
                String::new()
            }
            Operation::Begin => format!("{:?}", queue.begin_rebuild().await),
            Operation::Restore {
                id,
                priority,
                lease,
            } => {
                let lease = lease.map(|token| (&self.tokens[token], LONG));
                format!("{:?}", queue.restore(of(*id, *priority), lease).await)
            }
            Operation::End => format!("{:?}", queue.end_rebuild().await),
        }
    }
}

/// All that the index tells about itself.
async fn picture(queue: &dyn JobQueue) -> String {
    let ids: Vec<DeploymentId> = (1..=IDS).map(DeploymentId).collect();
    let Ok(places) = queue.places(&ids).await else {
        return format!("{:?}", queue.depth().await);
    };
    let places: Vec<_> = ids.iter().map(|id| places[id]).collect();
    let mut entries = queue.entries(100).await.unwrap();
    entries.sort_by_key(|entry| entry.id);
    let mut targets = queue.targets().await.unwrap();
    targets.sort();
    let depth = queue.depth().await.unwrap();
    format!("{places:?} {entries:?} {targets:?} {depth}")
}

async fn compare(redis: &Rig, operations: &[Operation]) -> Result<(), TestCaseError> {
    let memory = Rig::memory();
    let tokens: Vec<LeaseToken> = (0..TOKENS).map(|_| crate::rig::token()).collect();
    redis.wipe().await;
    for rig in [&memory, redis] {
        rig.rebuild_empty().await;
    }
    let (on_memory, on_redis) = (
        Run {
            rig: &memory,
            tokens: &tokens,
        },
        Run {
            rig: redis,
            tokens: &tokens,
        },
    );
    for operation in operations {
        let (expected, answer) = (
            on_memory.step(operation).await,
            on_redis.step(operation).await,
        );
        prop_assert_eq!(expected, answer, "{:?}", operation);
        let (expected, seen) = (
            picture(memory.queue.as_ref()).await,
            picture(redis.queue.as_ref()).await,
        );
        prop_assert_eq!(expected, seen, "after {:?}", operation);
    }
    Ok(())
}

#[test]
fn both_implementations_answer_alike() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = runtime.block_on(Rig::redis());
    let default = ProptestConfig::default();
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: slipway_testkit::variable("SLIPWAY_TEST_QUEUE_SEQUENCES")
            .map_or(default.cases, |number| number.parse().expect("a number")),
        ..default
    });
    let outcome = runner.run(&operations(), |operations| {
        runtime.block_on(compare(&redis, &operations))
    });
    runtime.block_on(redis.wipe());
    if let Err(difference) = outcome {
        panic!("{difference}");
    }
}
