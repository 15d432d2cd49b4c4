//! Removing what nobody needs any more: old Idempotency-Keys, locks that have expired, processes that
//! are long gone, entries of the audit trail that are older than they are kept.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    account, audit,
    ctx::Ctx,
    deployment,
    error::Result,
    notify::{delivery, outbox},
    process,
};

/// How often the duty looks.
pub const INTERVAL: Duration = Duration::from_secs(600);
/// How long a repeated request is recognised by its Idempotency-Key.
pub const KEYS_KEPT: chrono::Duration = chrono::Duration::hours(24);
/// Events that are removed at once.
const NOTICES_AT_ONCE: u64 = 500;

/// What one look removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Idempotency-Keys.
    pub keys: u64,
    /// Locks.
    pub locks: u64,
    /// Processes.
    pub processes: u64,
    /// Entries of the audit trail.
    pub audit: u64,
    /// Events that were told.
    pub notices: u64,
}

/// Looks once.
///
/// # Errors
/// When the database fails; what was removed stays removed.
pub async fn run_once(ctx: &Ctx, now: DateTime<Utc>) -> Result<Tidied> {
    let conn = ctx.db.writer();
    let mut tidied = Tidied {
        locks: outbox::lock::expire(ctx, now).await?,
        processes: process::store::prune(conn, process::duty::REMEMBERED).await?,
        keys: 0,
        audit: 0,
        notices: 0,
    };
    let days = i64::from(ctx.settings.notifications.retention_days);
    if days > 0 {
        let before = now - chrono::Duration::days(days);
        loop {
            let micros = before.timestamp_micros();
            let removed = delivery::store::prune(conn, micros, NOTICES_AT_ONCE).await?;
            tidied.notices += removed;
            if removed == 0 {
                break;
            }
        }
    }
    account::store::links::prune(conn, now).await?;
    account::store::factors::prune_challenges(conn, now).await?;
    account::store::provider::prune(conn, now).await?;
    account::store::throttles::prune(conn, now - account::throttle::REMEMBERED).await?;
    let days = i64::from(ctx.settings.audit.retention_days);
    if days > 0 {
        let before = now - chrono::Duration::days(days);
        tidied.audit = audit::retention::run_once(ctx, before, now).await?;
    }
    loop {
        let removed = deployment::store::keys::prune(conn, now - KEYS_KEPT).await?;
        tidied.keys += removed;
        if removed == 0 {
            break;
        }
    }
    if tidied != Tidied::default() {
        tracing::debug!(?tidied, "removed what is out of date");
    }
    Ok(tidied)
}
