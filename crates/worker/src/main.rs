//! `slipway-worker`: runs deployments; as many of them as wanted, on any number of machines.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use slipway_core::{recovery::duties::Duties, start, telemetry};

/// Slipway's worker.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; the one that `SLIPWAY_ENV` names otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = start::settings(arguments.config)?;
    start::harden()?;
    telemetry::start(&settings.logging)?;
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
    let ctx = start::open(settings, backends.queue, backends.bus).await?;
    let (stop, now) = start::signals()?;
    tracing::info!("ready for deployments");
    let duties = Duties::start(&ctx).await;
    let served = slipway_worker::start::serve(&ctx, stop, now).await;
    duties.end().await;
    served
}
