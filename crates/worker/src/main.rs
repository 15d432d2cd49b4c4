//! `slipway-worker`: runs deployments; as many of them as wanted, on any number of machines.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use slipway_core::{
    process::entity::ProcessKind, recovery::duties::Duties, settings::Settings, start, telemetry,
};
use slipway_worker::guard;
use tokio::runtime::Builder;

/// Slipway's worker.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; the one that `SLIPWAY_ENV` names otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    // The worker starts itself once more in this part, which needs nothing of what follows.
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == guard::ARGUMENT
    {
        return guard::serve(rest);
    }
    match worker() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words("slipway-worker", &error);
            ExitCode::FAILURE
        }
    }
}

fn worker() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = start::settings(arguments.config)?;
    start::harden()?;
    start::log(&settings)?;
    // Before there are threads: each of them takes it over, and so does whatever they start.
    slipway_worker::start::stand_back(settings.worker.nice);
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let provider = rustls::crypto::ring::default_provider();
    provider
        .install_default()
        .ok()
        .context("another TLS provider is in place already")?;
    let redis = settings.redis.as_ref().context(
        "there is no `redis` section in the configuration, which slipway-worker needs; `slipway \
         up` runs without one",
    )?;
    let backends = slipway_queue::connect(redis).await?;
    let providers = slipway_notify::registry(&settings.notifications)?;
    let ctx = start::open(settings, backends.queue, backends.bus).await?;
    let ctx = ctx.with_providers(providers);
    let (stop, now) = start::signals()?;
    tracing::info!("ready for deployments");
    let duties = Duties::start(&ctx, ProcessKind::Worker).await?;
    // In a task, which the threads that hear of sockets carry on themselves: waking another one for
    // each answer costs more than most answers do.
    let serving = tokio::spawn(async move {
        slipway_worker::start::serve(&ctx, guard::Program::own(), stop, now).await
    });
    let served = serving.await.context("the worker panicked")?;
    duties.end().await;
    served
}
