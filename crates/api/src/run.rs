//! Serving: the server and the service manager's watchdog, until told to stop.

use std::{net::TcpListener, sync::Arc};

use anyhow::Context as _;
use sd_notify::NotifyState;
use slipway_core::ctx::Ctx;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::server::{State, build};

/// Binds the configured address.
///
/// # Errors
/// When it is in use or not ours.
pub fn bind(ctx: &Ctx) -> anyhow::Result<TcpListener> {
    let server = &ctx.settings.server;
    TcpListener::bind((server.host.as_str(), server.port))
        .with_context(|| format!("listening on {}:{}", server.host, server.port))
}

/// Serves until `stop`. Requests under way are answered; live streams end.
///
/// # Errors
/// When the server cannot start or breaks off.
pub async fn serve(ctx: Ctx, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let tasks = TaskTracker::new();
    let process = Arc::clone(&ctx.process);
    let server = build(State::new(ctx, stop.clone())?, listener)?;
    let handle = server.handle();
    let stopping = stop.clone();
    tasks.spawn(async move {
        stopping.cancelled().await;
        process.drain();
        handle.stop(true).await;
    });
    tasks.spawn(stop.clone().run_until_cancelled_owned(feed_watchdog()));
    // Without a service manager there is nobody to tell.
    let _no_manager = sd_notify::notify(&[NotifyState::Ready]);
    let served = server.await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    served.context("the HTTP server broke off")
}

/// Tells systemd that this process's runtime still turns.
pub async fn feed_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        let _no_manager = sd_notify::notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(period / 3).await;
    }
}
