//! `slipway-api`: the HTTP server of an installation with MySQL and Redis.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use secrecy::ExposeSecret as _;
use slipway_api::run;
use slipway_core::{
    account::first_admin::FirstAdmin, process::entity::ProcessKind, recovery::duties::Duties,
    start, telemetry,
};

/// Slipway's API server.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; the one that `SLIPWAY_ENV` names otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    match api() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words("slipway-api", &error);
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn api() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = start::settings(arguments.config)?;
    start::harden()?;
    start::log(&settings)?;
    let provider = rustls::crypto::ring::default_provider();
    provider
        .install_default()
        .ok()
        .context("another TLS provider is in place already")?;
    let redis = settings.redis.as_ref().context(
        "there is no `redis` section in the configuration, which slipway-api needs; `slipway up` \
         runs without one",
    )?;
    let backends = slipway_queue::connect(redis).await?;
    let providers = slipway_notify::registry(&settings.notifications)?;
    let ctx = start::open(settings, backends.queue, backends.bus).await?;
    let ctx = ctx.with_providers(providers);
    if let Some(admin) = start::first_admin(&ctx).await? {
        announce(&admin)?;
    }
    let (stop, now) = start::signals()?;
    let listener = run::bind(&ctx)?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let duties = Duties::start(&ctx, ProcessKind::Api).await?;
    let served = tokio::select! {
        served = run::serve(ctx, listener, stop) => served,
        () = now.cancelled() => Ok(()),
    };
    duties.end().await;
    served
}

/// The generated password is shown here and never again, so it goes past the log.
fn announce(admin: &FirstAdmin) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match &admin.generated_password {
        Some(password) => writeln!(
            out,
            "First Admin: {} with password {} (shown only this once)",
            admin.email,
            password.expose_secret()
        ),
        None => writeln!(out, "First Admin: {}", admin.email),
    }
}
