//! The duty that seals entries into the chain. Every process runs it; one at a time gets to.
//!
//! A link seals what has been committed and has no seal yet, in order of id, so that an entry whose
//! transaction took longer is in a later link. Nobody who writes entries waits for it.

use sea_orm::ConnectionTrait;

use super::{
    entity::seal,
    proof::{Head, Key, is_same, member},
    store,
};
use crate::{ctx::Ctx, db::broken, error::Result, id::AuditId};

/// Entries of one link. Whoever writes meanwhile waits for the processor as long as a link takes.
pub const ENTRIES_MAX: u64 = 256;

/// Seals everything that waits, and answers how much that was.
///
/// # Errors
/// When the database fails, or the chain's end has been altered: nothing is added to that.
pub async fn run_once(ctx: &Ctx) -> Result<u64> {
    let mut sealed = 0;
    loop {
        let some = next_link(ctx).await?;
        sealed += some;
        if some < ENTRIES_MAX {
            return Ok(sealed);
        }
    }
}

/// Seals one link's entries, and answers how many those were; [`ENTRIES_MAX`] when more may wait.
///
/// # Errors
/// Those of [`run_once`].
pub async fn next_link(ctx: &Ctx) -> Result<u64> {
    if !store::has_unsealed(ctx.db.reader()).await? {
        return Ok(0);
    }
    let key = ctx.audit.key().await?;
    crate::db::retried(|| seal_some(ctx, &key)).await
}

async fn seal_some(ctx: &Ctx, key: &Key) -> Result<u64> {
    let tx = ctx.db.begin().await?;
    let mut head = locked_head(&tx, key).await?;
    let entries = store::unsealed(&tx, ENTRIES_MAX).await?;
    if entries.is_empty() {
        return Ok(0);
    }
    let members: Vec<u8> = entries
        .iter()
        .flat_map(|(id, mac)| member(*id, mac))
        .collect();
    let ids: Vec<AuditId> = entries.iter().map(|(id, _)| *id).collect();
    let (number, now) = (head.seal + 1, crate::db::now());
    let hash = key.of_seal(number, &head.hash, now, &members);
    let link = seal::Model {
        id: number,
        at: now,
        entries: i64::try_from(ids.len()).unwrap_or(i64::MAX),
        members,
        hash: hash.to_vec(),
    };
    store::insert_seal(&tx, link, &ids).await?;
    head.seal = number;
    head.hash = hex::encode(hash);
    head.entries += ids.len() as u64;
    write_head(&tx, key, &head).await?;
    tx.commit().await?;
    Ok(ids.len() as u64)
}

/// The end of the chain, held until the transaction ends.
pub(super) async fn locked_head(tx: &impl ConnectionTrait, key: &Key) -> Result<Head> {
    let chain = store::lock_chain(tx).await?;
    let chain = chain.ok_or_else(|| broken("the audit trail has no chain"))?;
    if !is_same(&key.of_head(&chain.head), &chain.head_mac) {
        return Err(broken(
            "the end of the audit trail's chain was altered; `slipway audit verify` says more",
        ));
    }
    Ok(serde_json::from_str(&chain.head)?)
}

pub(super) async fn write_head(tx: &impl ConnectionTrait, key: &Key, head: &Head) -> Result<()> {
    let text = serde_json::to_string(head)?;
    store::write_head(tx, &text, &key.of_head(&text)).await
}
