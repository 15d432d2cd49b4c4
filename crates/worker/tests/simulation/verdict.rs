//! One seed from its beginning to its verdict.

use std::{sync::Arc, time::Duration};

use slipway_core::{
    deployment::{reason::Code, status::Status},
    id::{DeploymentId, TargetId},
    ports::JobQueue as _,
    recovery::reaper::INTERRUPTIONS_MAX,
};
use tokio::time::Instant;

use crate::{
    clients,
    fleet::Fleet,
    mutants::Mutant,
    nemesis::{self, CHAOS},
    payload::PLANNED,
    scene,
    world::{Outcome, World},
};

/// Requests of one world.
const REQUESTS: usize = 22;
/// How long everything may take to come to its end once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(1500);

/// Runs one seed in simulated time.
pub(crate) fn run(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(seed, mutant))
}

async fn live(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let world = World::new(seed, mutant);
    let fleet = Fleet::start(&world);
    tokio::spawn(Arc::clone(&fleet).keep_up());
    tokio::spawn(nemesis::rage(Arc::clone(&fleet)));
    for number in 0..REQUESTS {
        let place = world.dice.pick(&scene::TARGETS);
        let after = world.dice.millis(0, 70_000);
        let (own, fleet) = (Arc::clone(&world), Arc::clone(&fleet));
        world.state().open_requests += 1;
        tokio::spawn(async move {
            own.pause(after).await;
            own.state().open_requests -= 1;
            clients::deploy(fleet, place, format!("key-{number}")).await;
        });
    }
    world.pause(CHAOS).await;
    world.calm_down();
    world.note("calm", 0, 0, 0);
    for machine in fleet.machines() {
        machine.process.thaw();
    }
    settle(&world).await;
    if !world.is_violated() {
        judge(&world);
    }
    world.outcome()
}

/// Waits until nothing is open any more and the index is empty.
async fn settle(world: &World) {
    let since = Instant::now();
    let open = "SELECT id FROM deployments WHERE status IN ('queued', 'running')";
    loop {
        world.pause(Duration::from_secs(2)).await;
        let idle = world.state().open_requests == 0;
        let depth = world.queue.depth().await.unwrap_or(1);
        if world.is_violated() || idle && depth == 0 && world.sqlite.look(open).is_empty() {
            return;
        }
        if since.elapsed() > CALM {
            break;
        }
    }
    for row in world.sqlite.look(
        "SELECT id, status, interruptions FROM deployments WHERE status IN ('queued', 'running')",
    ) {
        let (id, status): (i64, String) = (row.try_get_by(0).unwrap(), row.try_get_by(1).unwrap());
        world.violated(format!("deployment {id} is {status} for ever"));
    }
    let entries = world.queue.entries(1000).await;
    world.violated(format!(
        "{} requests without an answer, index: {entries:?}",
        world.state().open_requests
    ));
}

/// A deployment as it ended.
struct Ended {
    id: DeploymentId,
    target: TargetId,
    status: String,
    reason: Option<String>,
    attempt: i64,
    interruptions: i64,
    fence: i64,
}

fn judge(world: &World) {
    let sql = "SELECT id, target_id, status, reason, attempt, interruptions, fence \
               FROM deployments ORDER BY id";
    let ended: Vec<Ended> = world
        .sqlite
        .look(sql)
        .iter()
        .map(|row| Ended {
            id: DeploymentId(row.try_get_by(0).unwrap()),
            target: TargetId(row.try_get_by(1).unwrap()),
            status: row.try_get_by(2).unwrap(),
            reason: row.try_get_by(3).unwrap(),
            attempt: row.try_get_by(4).unwrap(),
            interruptions: row.try_get_by(5).unwrap(),
            fence: row.try_get_by(6).unwrap(),
        })
        .collect();
    let accepted: Vec<DeploymentId> = world.state().accepted.values().copied().collect();
    for id in &accepted {
        if !ended.iter().any(|row| row.id == *id) {
            world.violated(format!("deployment {id} was accepted and is not there"));
        }
    }
    if ended.len() != accepted.len() {
        world.violated(format!(
            "{} deployments for {} answered requests",
            ended.len(),
            accepted.len()
        ));
    }
    for row in &ended {
        judge_counts(world, row);
    }
    judge_targets(world, &ended);
    judge_plans(world);
    let held = "SELECT id FROM targets WHERE holder_id IS NOT NULL";
    if !world.sqlite.look(held).is_empty() {
        world.violated("a target is held although nothing is open");
    }
}

fn judge_counts(world: &World, row: &Ended) {
    let is = |code: Code| row.reason.as_deref() == Some(code.as_str());
    let lost = is(Code::WorkerLost);
    let charged = usize::try_from(row.attempt).unwrap_or(usize::MAX);
    let state = world.state();
    let own = state.ends.iter().filter(|end| end.id == row.id).count();
    let succeeded = row.status == Status::Succeeded.as_str();
    let by_itself = state
        .ends
        .iter()
        .any(|end| end.id == row.id && end.fence == row.fence && end.failed != succeeded);
    drop(state);
    if (succeeded || row.status == Status::Failed.as_str() && !lost) && !by_itself {
        world.violated(format!(
            "deployment {} has {}, but its last run (fence {}) did not end so",
            row.id, row.status, row.fence
        ));
    }
    // The last run of one that was cancelled or lost stays charged.
    let allowed = own + usize::from(lost || row.status == Status::Cancelled.as_str());
    if charged > allowed {
        world.violated(format!(
            "deployment {} was charged {charged} attempts, and only {own} runs ended by themselves",
            row.id
        ));
    }
    if row.attempt > i64::from(world.settings.queue.retry_attempts) {
        world.violated(format!("deployment {} ran {charged} times", row.id));
    }
    if row.interruptions > INTERRUPTIONS_MAX {
        world.violated(format!(
            "deployment {} was interrupted {} times",
            row.id, row.interruptions
        ));
    }
}

/// The first run of each deployment was planned with its claim, once, and greeted with it.
fn judge_plans(world: &World) {
    let sql = "SELECT id, fence, \
                 (SELECT COUNT(*) FROM steps WHERE deployment_id = deployments.id), \
                 (SELECT COUNT(*) FROM log_chunks WHERE deployment_id = deployments.id), \
                 pipeline IS NOT NULL \
               FROM deployments";
    for row in world.sqlite.look(sql) {
        let [id, fence, steps, lines, pipeline] =
            [0, 1, 2, 3, 4].map(|column| row.try_get_by::<i64, _>(column).unwrap());
        let ran = i64::from(fence > 0);
        let planned = i64::try_from(PLANNED).unwrap();
        if (steps, lines, pipeline) != (ran * planned, ran, ran) {
            world.violated(format!(
                "deployment {id} (fence {fence}) has {steps} steps and {lines} greetings"
            ));
        }
    }
    let open = "SELECT id FROM steps WHERE status IN ('pending', 'running')";
    if !world.sqlite.look(open).is_empty() {
        world.violated("a step is open although its run is over");
    }
}

fn judge_targets(world: &World, ended: &[Ended]) {
    for place in &scene::TARGETS {
        let of = |row: &&Ended| row.target == place.id;
        let newest = ended
            .iter()
            .filter(of)
            .rfind(|row| row.status == Status::Succeeded.as_str());
        let active = world.state().targets[&place.id].active;
        let fits = match (newest, active) {
            (None, None) => true,
            (Some(newest), Some(active)) if newest.id == active => true,
            // It went live and was lost before that was written down, too often, or while somebody
            // wanted it to stop or a newer one took its place.
            (newest, Some(active)) => ended
                .iter()
                .filter(of)
                .any(|row| row.id == active && newest.is_none_or(|newest| newest.id < active)),
            (Some(_), None) => false,
        };
        if !fits {
            world.violated(format!(
                "deployment {active:?} is live on target {}, the newest that succeeded is {:?}",
                place.id,
                newest.map(|row| row.id)
            ));
        }
    }
}
