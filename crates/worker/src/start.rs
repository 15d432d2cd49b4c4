//! A worker process, or the worker inside `slipway up`: everything around the loop.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::Context as _;
use rustix::process::{getpriority_process, setpriority_process};
use sd_notify::NotifyState;
use slipway_core::{
    ctx::Ctx,
    deployment::store::claim::{is_current, owned},
    id::DeploymentId,
    settings::load::environment,
};
use tokio_util::sync::CancellationToken;

use crate::{
    deploy::{INHERITED, Pipes, Workshop, remove_abandoned_masks},
    git::{GitStore, Options},
    guard::{Guard, Program},
    instance::Instance,
    lease::Keeper,
    neighbours,
    notify::Sender,
    runner::Runner,
};

/// What git needs of the worker's environment to reach a network through a proxy.
const GIT_ENVIRONMENT: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];

/// Makes this process, and what it starts, stand back so far when others want the processor. Where
/// the system refuses, it says so and goes on as it is.
pub fn stand_back(nice: u8) {
    let wanted = i32::from(nice);
    // Who started it may have gone further, and only root goes back.
    let set = match getpriority_process(None) {
        Ok(has) if has >= wanted => Ok(()),
        Ok(_) => setpriority_process(None, wanted),
        Err(error) => Err(error),
    };
    if let Err(error) = set {
        tracing::warn!(%error, nice, "this worker cannot stand back as worker.nice says");
    }
}

/// A worker that is ready to run, with `guard` as its guard's program. `stop` ends its lease keeper;
/// `hand_back` makes its runs stop.
///
/// # Errors
/// When its folder cannot be used, or its guard or a thread cannot be started.
pub fn prepare(
    ctx: &Ctx,
    guard: Program,
    stop: CancellationToken,
    hand_back: CancellationToken,
) -> anyhow::Result<Runner> {
    let dir = &ctx.settings.worker.dir;
    fs::create_dir_all(dir)
        .with_context(|| format!("making the worker's folder {} (worker.dir)", dir.display()))?;
    remove_abandoned_masks(dir);
    let environment = environment();
    let inherited = |names: &[&str]| {
        let known = environment
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()));
        known
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let options = Options {
        environment: inherited(&GIT_ENVIRONMENT),
        ..Options::default()
    };
    let instance = Instance::enter(dir, &ctx.process.name)
        .with_context(|| format!("preparing the worker's folder {}", dir.display()))?;
    let lease = ctx.settings.queue.lease();
    let guard = Guard::start(guard, lease, Some(instance.path()))?;
    let keeper = Keeper::start(ctx, guard.clone(), stop)?;
    let shop = Workshop {
        guard,
        instance: Arc::new(instance),
        git: GitStore::new(dir, options)
            .with_context(|| format!("preparing the worker's folder {}", dir.display()))?,
        pipes: Pipes::within(dir),
        name: ctx.process.name.clone(),
        base_environment: inherited(&INHERITED),
        hand_back,
        ctx: ctx.clone(),
    };
    Ok(Runner::new(shop, keeper))
}

/// Takes and runs deployments until `stop`, then drains; `now` ends the patience.
///
/// # Errors
/// When the worker cannot start.
pub async fn serve(
    ctx: &Ctx,
    guard: Program,
    stop: CancellationToken,
    now: CancellationToken,
) -> anyhow::Result<()> {
    // Leases go on while running deployments are waited for.
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let runner = prepare(ctx, guard, over.clone(), now)?;
    neighbours::look_after(ctx, &ctx.settings.worker.dir, processes(&runner)).await;
    sweep(ctx).await;
    // Without a service manager there is nobody to tell.
    let _no_manager = sd_notify::notify(&[NotifyState::Ready]);
    tokio::spawn(over.clone().run_until_cancelled_owned(feed_watchdog()));
    tokio::spawn(over.run_until_cancelled_owned(look_after_neighbours(ctx.clone())));
    let sender = Sender::new(ctx);
    let sending = tokio::spawn({
        let sender = sender.clone();
        async move { sender.run().await }
    });
    // What a deployment's end tells is sent too, so this goes on as long as they do.
    runner.run(&stop).await;
    sender.end().await;
    let _ended = sending.await;
    let Workshop { name, instance, .. } = runner.work();
    if matches!(owned(ctx.db.writer(), name).await, Ok(rows) if rows.is_empty()) {
        instance.leave();
    }
    Ok(())
}

/// This process and its guard: all that there is before the first run.
fn processes(runner: &Runner) -> Vec<u32> {
    let guard = runner.work().guard.id();
    let guard = guard.and_then(|id| u32::try_from(id).ok());
    [std::process::id()].into_iter().chain(guard).collect()
}

/// Every second for the usual lease of 30 s.
async fn look_after_neighbours(ctx: Ctx) {
    loop {
        tokio::time::sleep(ctx.settings.queue.lease() / 30).await;
        // By now its own group has its steps in it, and proves nothing more.
        neighbours::look_after(&ctx, &ctx.settings.worker.dir, Vec::new()).await;
    }
}

async fn feed_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        let _no_manager = sd_notify::notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(period / 3).await;
    }
}

/// Removes the folders of runs that are over, which a killed worker could not. Other workers of
/// this machine may use the same folder, so the database says which ones are over.
async fn sweep(ctx: &Ctx) {
    let Ok(entries) = fs::read_dir(ctx.settings.worker.dir.join("runs")) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some((deployment, fence)) = run_of(&path) else {
            continue;
        };
        if let Ok(false) = is_current(&ctx.db, deployment, fence).await
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), error = %error, "an old run was not removed");
        }
    }
}

fn run_of(path: &Path) -> Option<(DeploymentId, i64)> {
    let (deployment, fence) = path.file_name()?.to_str()?.split_once('-')?;
    Some((deployment.parse().ok()?, fence.parse().ok()?))
}
