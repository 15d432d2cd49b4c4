//! The processes of a world: workers and API servers, each made of production's parts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_core::{
    ctx::Ctx,
    recovery::{
        duties::probe_once,
        reaper::{self, Reaper},
        rebuild, reconciler,
    },
    vault::load::key_ring,
};
use slipway_worker::{lease::Keeper, runner::Runner};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    database::Wire, index::Link, mutants::Mutant, payload::Payload, process::Process, world::World,
};

/// How many processes of each kind there are.
pub(crate) const WORKERS: usize = 3;
pub(crate) const APIS: usize = 2;

/// Every process that should be there, by its place.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) world: Arc<World>,
    places: Mutex<Vec<Machine>>,
}

/// A process and how to reach it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) process: Process,
    pub(crate) ctx: Ctx,
    /// What SIGTERM does to a worker.
    stop: Option<CancellationToken>,
}

impl Fleet {
    /// Starts everything.
    pub(crate) fn start(world: &Arc<World>) -> Arc<Self> {
        let workers = (0..WORKERS).map(|_| worker(world));
        let apis = (0..APIS).map(|_| api(world));
        Arc::new(Self {
            world: Arc::clone(world),
            places: Mutex::new(workers.chain(apis).collect()),
        })
    }

    pub(crate) fn machines(&self) -> Vec<Machine> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.clone()
    }

    /// One of the API servers, dead or alive.
    pub(crate) fn api(&self) -> Machine {
        self.machines()
            .swap_remove(WORKERS + self.world.dice.below(APIS))
    }

    /// A service manager: starts what has ended again, after a while.
    pub(crate) async fn keep_up(self: Arc<Self>) {
        loop {
            self.world.pause(Duration::from_secs(1)).await;
            for (place, machine) in self.machines().into_iter().enumerate() {
                if machine.process.is_dead()
                    && (!self.world.is_chaotic() || self.world.dice.chance(300))
                {
                    self.replace(place);
                }
            }
        }
    }

    fn replace(&self, place: usize) {
        let machine = if place < WORKERS {
            worker(&self.world)
        } else {
            api(&self.world)
        };
        self.world.note("started", machine.process.number(), 0, 0);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places[place] = machine;
    }

    /// Tells a worker to stop.
    pub(crate) fn terminate(&self, place: usize) {
        let machine = self.machines().swap_remove(place);
        if let Some(stop) = &machine.stop
            && machine.process.is_running()
            && !stop.is_cancelled()
        {
            self.world.count("drains");
            self.world
                .note("told to stop", machine.process.number(), 0, 0);
            stop.cancel();
        }
    }
}

fn context(world: &Arc<World>, process: &Process) -> Ctx {
    let settings = world.settings.clone();
    let keys = key_ring(&settings.security).unwrap();
    let link = Arc::new(Link {
        world: Arc::clone(world),
        process: process.clone(),
    });
    let bus = Arc::clone(&link);
    Ctx::new(Wire::db(world, process), link, bus, keys, settings)
}

fn api(world: &Arc<World>) -> Machine {
    let process = world.process("api");
    let ctx = context(world, &process);
    duties(world, &process, &ctx);
    Machine {
        process,
        ctx,
        stop: None,
    }
}

fn worker(world: &Arc<World>) -> Machine {
    let process = world.process("worker");
    let ctx = context(world, &process);
    duties(world, &process, &ctx);
    let keeper = Keeper::new(&ctx);
    let payload = Payload {
        ctx: ctx.clone(),
        world: Arc::clone(world),
        process: process.clone(),
        keeper: keeper.clone(),
        hand_back: CancellationToken::new(),
    };
    let (own, from, of) = (ctx.clone(), Arc::clone(world), process.clone());
    let renewing = keeper.clone();
    process.spawn(async move {
        let connect = || std::future::ready(Ok(Wire::db(&from, &of)));
        renewing.run(&own, connect).await;
    });
    let stop = CancellationToken::new();
    let (told, ending) = (stop.clone(), process.clone());
    let runner = Runner::new(payload, keeper);
    process.spawn(async move {
        runner.run(&told).await;
        ending.kill();
    });
    Machine {
        process,
        ctx,
        stop: Some(stop),
    }
}

/// Production's duties in loops of our own, whose jitter comes from the world's dice.
fn duties(world: &Arc<World>, process: &Process, ctx: &Ctx) {
    let boot_only = world.lacks(Mutant::OnlyBoot);
    let (own, at) = (Arc::clone(world), ctx.clone());
    process.spawn(async move {
        probe_once(&at).await;
        if boot_only {
            let _lost = rebuild::run_once(&at).await;
            reconcile(&own, &at).await;
        }
        loop {
            own.pause(Duration::from_secs(1)).await;
            if boot_only {
                at.health.record(at.queue.probe().await.is_ok());
            } else {
                probe_once(&at).await;
            }
        }
    });
    if !world.lacks(Mutant::NoReaper) {
        let (own, at) = (Arc::clone(world), ctx.clone());
        process.spawn(async move {
            let mut reaper = Reaper::default();
            loop {
                let now = Instant::now().into_std();
                let _tried_again = reaper.run_once(&at, now, own.utc_now()).await;
                own.pause(jittered(&own, reaper::interval(own.lease())))
                    .await;
            }
        });
    }
    if !boot_only {
        process.spawn(keep_reconciling(Arc::clone(world), ctx.clone()));
    }
}

async fn keep_reconciling(world: Arc<World>, ctx: Ctx) {
    let once = world.lacks(Mutant::NoReconciler);
    loop {
        let healthy = ctx.health.is_healthy();
        if healthy {
            reconcile(&world, &ctx).await;
        }
        if healthy && once {
            return;
        }
        world.pause(jittered(&world, world.lease() / 2)).await;
    }
}

async fn reconcile(world: &World, ctx: &Ctx) {
    let grace = chrono::Duration::from_std(world.lease() / 6).unwrap_or_default();
    let _tried_again = reconciler::run_once(ctx, grace, world.utc_now()).await;
}

fn jittered(world: &World, base: Duration) -> Duration {
    base.mul_f64(0.9 + 0.2 * f64::from(u32::try_from(world.dice.below(256)).unwrap_or(0)) / 255.0)
}
