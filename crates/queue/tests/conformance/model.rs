//! Random sequences of operations, run on both implementations, which must answer alike.
//!
//! Times are either over at once or never, so that the clock takes no part.

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestRunner};
use slipway_core::{
    id::{DeploymentId, TargetId},
    ports::{Authority, Claimed, Entry, JobQueue, LeaseToken},
};

use crate::rig::{LONG, Rig, entry};

const IDS: i64 = 12;
const TARGETS: i64 = 4;
const TOKENS: usize = 5;

#[derive(Clone, Debug)]
enum Operation {
    Enqueue {
        id: i64,
        force: bool,
    },
    Claim {
        token: usize,
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
        lease: Option<usize>,
    },
    End,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let id = || 1..=IDS;
    let token = || 0..TOKENS;
    let by = || prop_oneof![2 => token().prop_map(Some), 1 => Just(None)];
    let operation = prop_oneof![
        8 => (id(), any::<bool>()).prop_map(|(id, force)| Operation::Enqueue { id, force }),
        8 => (token(), prop::bool::weighted(0.2), 1..=4_u32).prop_map(
            |(token, runs_out, max_running)| Operation::Claim { token, runs_out, max_running }
        ),
        4 => (id(), by()).prop_map(|(id, by)| Operation::Finish { id, by }),
        4 => (id(), by(), any::<bool>())
            .prop_map(|(id, by, due)| Operation::Retry { id, by, due }),
        3 => (id(), by()).prop_map(|(id, by)| Operation::Requeue { id, by }),
        3 => (id(), token(), prop::bool::weighted(0.2))
            .prop_map(|(id, token, runs_out)| Operation::Hold { id, token, runs_out }),
        2 => (prop::collection::vec((id(), token()), 1..4), prop::bool::weighted(0.3))
            .prop_map(|(ids, runs_out)| Operation::Renew { ids, runs_out }),
        3 => (1..=TARGETS).prop_map(|target| Operation::Repair { target }),
        1 => prop::sample::select(vec![Operation::Wipe, Operation::Begin, Operation::End]),
        2 => (id(), prop::option::of(token()))
            .prop_map(|(id, lease)| Operation::Restore { id, lease }),
    ];
    prop::collection::vec(operation, 1..60)
}

/// A deployment belongs to the same target for ever.
fn of(id: i64) -> Entry {
    entry(id, id % TARGETS + 1)
}

fn time(runs_out: bool) -> Duration {
    if runs_out { Duration::ZERO } else { LONG }
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
            Operation::Enqueue { id, force } => {
                format!("{:?}", queue.enqueue(of(*id), *force).await)
            }
            Operation::Claim {
                token,
                runs_out,
                max_running,
            } => {
                let token = &self.tokens[*token];
                let claimed = queue.claim(token, time(*runs_out), *max_running).await;
                match claimed {
                    Ok(Claimed::Empty(wait)) => format!("empty {}", wait.is_some()),
                    claimed => format!("{claimed:?}"),
                }
            }
            Operation::Finish { id, by } => {
                format!("{:?}", queue.finish(of(*id), &self.authority(*by)).await)
            }
            Operation::Retry { id, by, due } => {
                let by = self.authority(*by);
                format!("{:?}", queue.retry(of(*id), &by, time(*due)).await)
            }
            Operation::Requeue { id, by } => {
                format!("{:?}", queue.requeue(of(*id), &self.authority(*by)).await)
            }
            Operation::Hold {
                id,
                token,
                runs_out,
            } => {
                let token = &self.tokens[*token];
                format!("{:?}", queue.hold(of(*id), token, time(*runs_out)).await)
            }
            Operation::Renew { ids, runs_out } => {
                let lease = |(id, token): &(i64, usize)| (of(*id).id, self.tokens[*token].clone());
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
            Operation::Restore { id, lease } => {
                let lease = lease.map(|token| (&self.tokens[token], LONG));
                format!("{:?}", queue.restore(of(*id), lease).await)
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
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&operations(), |operations| {
        runtime.block_on(compare(&redis, &operations))
    });
    runtime.block_on(redis.wipe());
    if let Err(difference) = outcome {
        panic!("{difference}");
    }
}
