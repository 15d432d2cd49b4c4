//! Removing old entries so that what is left can still be verified: whole links go, oldest first,
//! and the signed ends of the chain keep the hash of the last one that went.

use chrono::{DateTime, Utc};

use super::{
    entry::{Action, Entry, ObjectKind},
    proof::Key,
    seal::{locked_head, write_head},
    store,
};
use crate::{ctx::Ctx, error::Result};

/// Links that one transaction removes; the writers of SQLite wait for it.
const LINKS_MAX: u64 = 5;

/// Removes the links that were sealed before this moment, and answers how many entries went.
///
/// # Errors
/// When the database fails; what was removed stays removed.
pub async fn run_once(ctx: &Ctx, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
    let mut removed = 0;
    loop {
        let key = ctx.audit.key().await?;
        let some = crate::db::retried(|| prune_some(ctx, &key, before, now)).await?;
        removed += some;
        if some == 0 {
            return Ok(removed);
        }
    }
}

async fn prune_some(
    ctx: &Ctx,
    key: &Key,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let tx = ctx.db.begin().await?;
    let mut head = locked_head(&tx, key).await?;
    let links = store::seals(&tx, head.pruned_seal, LINKS_MAX).await?;
    let mut removed = 0;
    for link in links {
        // A gap is somebody's work, and what verification has to find stays.
        let is_next = link.id == head.pruned_seal + 1;
        if link.at >= before || !is_next {
            break;
        }
        removed += store::delete_seal(&tx, link.id).await?;
        head.pruned_seal = link.id;
        head.pruned_hash = hex::encode(&link.hash);
        head.pruned_entries += u64::try_from(link.entries).unwrap_or_default();
    }
    if removed == 0 {
        return Ok(0);
    }
    write_head(&tx, key, &head).await?;
    let entry = Entry::by_system(Action::AuditPrune, now)
        .on(ObjectKind::Audit, None, "audit trail")
        .after(&serde_json::json!({
            "entries": removed, "sealed_before": before, "up_to_seal": head.pruned_seal,
        }));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(removed)
}
