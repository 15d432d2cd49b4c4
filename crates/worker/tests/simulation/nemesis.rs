//! Whatever can go wrong from outside, at random moments.

use std::{sync::Arc, time::Duration};

use slipway_core::ports::{Authority, JobQueue as _};

use crate::{
    fleet::{APIS, Fleet, WORKERS},
    world::World,
};

/// Does its worst until the world is calm.
pub(crate) async fn rage(fleet: Arc<Fleet>) {
    let world = Arc::clone(&fleet.world);
    loop {
        world.pause(world.dice.millis(200, 6000)).await;
        if !world.is_chaotic() {
            return;
        }
        match world.dice.below(100) {
            0..40 => {
                let victim = fleet.machines().swap_remove(world.dice.below(WORKERS));
                world.strike(&victim.process);
            }
            40..52 => {
                let victim = WORKERS + world.dice.below(APIS);
                world.strike(&fleet.machines().swap_remove(victim).process);
            }
            52..60 => fleet.terminate(world.dice.below(WORKERS)),
            60..66 => {
                world.count("wipes");
                world.note("wipe", 0, 0, 0);
                world.queue.wipe();
            }
            66..76 => world.state().snapshot = Some(world.queue.snapshot()),
            76..84 => roll_back(&world),
            84..90 => lose_entry(&world).await,
            90..93 => {
                let longest = if world.dice.chance(300) {
                    90_000
                } else {
                    15_000
                };
                let span = world.dice.millis(1000, longest);
                world.count("database outages");
                world.note("database away", 0, span.as_millis() as i64, 0);
                world.take_database_away(span);
                world.pause(span / 2).await;
            }
            _ => {
                let span = world.dice.millis(500, 20_000);
                world.count("queue outages");
                world.note("queue away", 0, span.as_millis() as i64, 0);
                world.take_queue_away(span);
            }
        }
    }
}

fn roll_back(world: &World) {
    let snapshot = world.state().snapshot.clone();
    if let Some(snapshot) = snapshot {
        world.count("roll-backs");
        world.note("roll-back", 0, 0, 0);
        world.queue.roll_back(&snapshot);
    }
}

async fn lose_entry(world: &World) {
    let Ok(entries) = world.queue.entries(1000).await else {
        return;
    };
    if entries.is_empty() {
        return;
    }
    let entry = *world.dice.pick(&entries);
    world.count("lost entries");
    world.note("entry lost", 0, entry.id.0, 0);
    let _gone = world.queue.finish(entry, &Authority::Database).await;
}

/// Long enough for every kind of fault to meet every kind of work.
pub(crate) const CHAOS: Duration = Duration::from_secs(120);
