//! Moving values from former keys to the active one, while everything else goes on.
//!
//! A value's own row says which key it is under, so that is all the progress there is: an interrupted
//! run is continued by the next one. A row that somebody else wrote meanwhile is left to the next
//! look. It asks nobody: system-only.

use super::{lacking, store};
use crate::{
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::broken,
    error::Result,
    id::SealedId,
    vault::{
        cipher::{Binding, Sealed},
        sealed::{self, Model},
        value::SecretValue,
    },
};

/// Rows that one transaction moves.
pub const BATCH: u64 = 200;
/// Looks at all rows before it gives up on those that others keep writing.
const LOOKS: u32 = 100;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// The key that values are under now.
    pub active: i32,
    /// Values that were moved, or in a trial run could be.
    pub moved: u64,
    /// Values that cannot be decrypted; they stay as they are.
    pub damaged: u64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Values that were under other keys when it began.
    pub total: u64,
    /// Those that were dealt with.
    pub done: u64,
}

/// A row that can be moved, with its plain text.
struct Opened {
    row: Model,
    plain: SecretValue,
    sealed: Sealed,
}

/// Moves every value to the active key; `dry_run` only decrypts, encrypts and compares.
///
/// # Errors
/// When this process lacks the active key, a written value does not read back, or the database fails.
/// What was committed before stays.
pub async fn run(ctx: &Ctx, dry_run: bool, mut report: impl FnMut(Progress)) -> Result<Rewrapped> {
    let rows = store::list(ctx.db.reader()).await?;
    let active = store::active_of(&rows).ok_or_else(|| broken("no master key is active"))?;
    if !ctx.keys.has(active) {
        return Err(lacking(active));
    }
    let mut progress = Progress {
        total: sealed::store::count_not_under(ctx.db.reader(), active).await?,
        done: 0,
    };
    report(progress);
    let mut result = Rewrapped {
        active,
        ..Rewrapped::default()
    };
    for _ in 0..LOOKS {
        result.damaged = 0;
        let mut after = SealedId(0);
        loop {
            // From the writing side: on SQLite a reader may lag behind what was just written.
            let rows = sealed::store::not_under(ctx.db.writer(), active, after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            let opened = open_all(ctx, active, rows, &mut result)?;
            result.moved += if dry_run {
                opened.len() as u64
            } else {
                crate::db::retried(|| write(ctx, active, &opened)).await?
            };
            progress.done = (result.moved + result.damaged).min(progress.total);
            report(progress);
        }
        let left = sealed::store::count_not_under(ctx.db.writer(), active).await?;
        if dry_run || left <= result.damaged {
            break;
        }
    }
    if !dry_run {
        let state = serde_json::json!({ "moved": result.moved, "damaged": result.damaged });
        let name = format!("version {active}");
        let entry = Entry::by_console(Action::KeyRewrap, crate::db::now())
            .on(ObjectKind::Key, i64::from(active), &name)
            .after(&state);
        ctx.audit.record(ctx.db.writer(), &entry).await?;
    }
    Ok(result)
}

/// Decrypts rows and encrypts them anew. What cannot be decrypted is counted and told in the log.
fn open_all(
    ctx: &Ctx,
    active: i32,
    rows: Vec<Model>,
    result: &mut Rewrapped,
) -> Result<Vec<Opened>> {
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        let plain = match plain(ctx, &row) {
            Ok(plain) => plain,
            Err(error) => {
                tracing::error!(
                    value.id = row.id.0, purpose = row.purpose, name = row.name,
                    error = %error, "a stored value cannot be decrypted and stays as it is"
                );
                result.damaged += 1;
                continue;
            }
        };
        let sealed = ctx
            .keys
            .seal(active, &binding(&row), plain.expose())
            .map_err(|error| crate::error::Error::Internal(error.into()))?;
        opened.push(Opened { row, plain, sealed });
    }
    Ok(opened)
}

fn plain(
    ctx: &Ctx,
    row: &Model,
) -> std::result::Result<SecretValue, crate::vault::cipher::VaultError> {
    let sealed = row
        .sealed()
        .ok_or(crate::vault::cipher::VaultError::Integrity)?;
    ctx.keys.open(&binding(row), &sealed)
}

fn binding(row: &Model) -> Binding<'_> {
    Binding {
        purpose: &row.purpose,
        project: row.project_id.unwrap_or(crate::id::ProjectId(0)),
        scope: row.scope,
        row: row.owner_id,
        name: &row.name,
        version: row.version,
    }
}

/// Writes a batch, reads it back and decrypts it before it is committed. Answers how many rows were
/// still as they had been read.
async fn write(ctx: &Ctx, active: i32, batch: &[Opened]) -> Result<u64> {
    if batch.is_empty() {
        return Ok(0);
    }
    let tx = ctx.db.begin().await?;
    if store::lock_active(&tx).await? != active {
        return Err(broken(
            "another key was activated meanwhile; repeat `slipway keys rewrap`",
        ));
    }
    let mut written = Vec::with_capacity(batch.len());
    for opened in batch {
        if sealed::store::reseal(&tx, &opened.row, &opened.sealed).await? {
            written.push(opened);
        }
    }
    let ids = written.iter().map(|opened| opened.row.id).collect();
    let stored = sealed::store::these(&tx, ids).await?;
    for opened in &written {
        let back = stored.iter().find(|row| row.id == opened.row.id);
        let back = back.and_then(|row| plain(ctx, row).ok());
        if back.is_none_or(|back| back.expose() != opened.plain.expose()) {
            return Err(broken(format!(
                "value {} did not read back as it was written; nothing of its batch was kept",
                opened.row.id
            )));
        }
    }
    tx.commit().await?;
    Ok(written.len() as u64)
}
