//! `slipway up`: API, worker and pages in one process, on SQLite and a queue in memory unless the
//! configuration says otherwise.

mod demo;

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use secrecy::ExposeSecret as _;
use slipway_core::{
    account::first_admin::FirstAdmin, ctx::Ctx, db::Db, process::entity::ProcessKind,
    recovery::duties::Duties, schema, settings::Settings, start,
};
use slipway_worker::guard::Program;
use tokio_util::sync::CancellationToken;

use crate::data::DataFolder;

/// What `up` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder for the database, the keys and checkouts [default: ~/.local/share/slipway]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Port to listen on; 0 takes a free one [default: 3000]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Add a project with a repository, a secret and a target, and deploy it once
    #[arg(long)]
    demo: bool,
    /// Configuration file; the one that `SLIPWAY_ENV` names otherwise
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT; a second one ends the patience with running deployments.
///
/// # Errors
/// When something cannot start; the message says what to do.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = DataFolder::open(arguments.data)?;
    let _lock = folder.lock()?;
    let settings = settings(&folder, arguments.port, arguments.config)?;
    start::log(&settings)?;
    let provider = rustls::crypto::ring::default_provider();
    provider
        .install_default()
        .ok()
        .context("another TLS provider is in place already")?;
    let ctx = open(settings).await?;
    let (stop, now) = start::signals()?;
    let listener = slipway_api::run::bind(&ctx)?;
    let address = format!("http://localhost:{}", listener.local_addr()?.port());
    let admin = start::first_admin(&ctx).await?;
    let duties = Duties::start(&ctx, ProcessKind::Up).await?;
    greet(&ctx, &address, admin.as_ref())?;

    let worker_stop = CancellationToken::new();
    let worker = {
        let (ctx, stop) = (ctx.clone(), worker_stop.clone());
        tokio::spawn(
            async move { slipway_worker::start::serve(&ctx, Program::own(), stop, now).await },
        )
    };
    if arguments.demo
        && let Some(id) = demo::ensure(&ctx, &folder).await?
    {
        writeln!(
            std::io::stdout().lock(),
            "Demo deployment: {address}/deployments/{id}"
        )?;
    }
    let served = slipway_api::run::serve(ctx, listener, stop).await;
    worker_stop.cancel();
    worker.await.context("the worker panicked")??;
    duties.end().await;
    served
}

/// The configured settings, with what is missing filled in from the data folder.
fn settings(
    folder: &DataFolder,
    port: Option<u16>,
    config: Option<PathBuf>,
) -> anyhow::Result<Settings> {
    let mut settings = start::unchecked_settings(config)?;
    if let Some(port) = port {
        settings.server.port = port;
    }
    folder.complete(&mut settings)?;
    settings.check()?;
    Ok(settings)
}

async fn open(settings: Settings) -> anyhow::Result<Ctx> {
    let backends = match &settings.redis {
        Some(redis) => slipway_queue::connect(redis).await?,
        None => slipway_queue::in_memory(),
    };
    let db = Db::connect(&settings.database).await?;
    schema::migrate(&db, &settings.database).await?;
    let providers = slipway_notify::registry(&settings.notifications)?;
    let ctx = start::open(settings, backends.queue, backends.bus).await?;
    Ok(ctx.with_providers(providers))
}

/// For the person at the terminal; the password is shown here and never again.
fn greet(ctx: &Ctx, address: &str, admin: Option<&FirstAdmin>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Slipway {} is running at {address}",
        env!("CARGO_PKG_VERSION")
    )?;
    let host = &ctx.settings.server.host;
    if !matches!(host.as_str(), "127.0.0.1" | "localhost" | "::1") {
        writeln!(out, "It listens on {host}: others can reach it.")?;
    }
    match admin {
        Some(FirstAdmin {
            email,
            generated_password: Some(password),
        }) => writeln!(
            out,
            "Sign in as {email} with password {} (shown only this once)",
            password.expose_secret()
        )?,
        Some(FirstAdmin {
            email,
            generated_password: None,
        }) => {
            writeln!(
                out,
                "Sign in as {email} with the password from SLIPWAY_ADMIN_PASSWORD"
            )?;
        }
        None => {}
    }
    out.flush()?;
    Ok(())
}
