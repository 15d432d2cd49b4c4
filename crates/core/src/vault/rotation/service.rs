//! What can be done with key versions. Whoever holds the machine and its keys does it, from the
//! command line; there is no route to it: system-only.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    entity::{KeyState, Model},
    lacking_text, needed, store,
};
use crate::{
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::{Db, broken, is_duplicate, micros},
    deployment::store::claim::clock,
    error::{Error, Result},
    process::{self, entity::Model as ProcessModel},
    vault::{key::MasterKey, ring::KeyRing, sealed},
};

/// A key version as an operator sees it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The version.
    pub version: i64,
    /// What it is used for.
    pub state: KeyState,
    /// How many values it encrypts.
    pub values: i64,
    /// Whether this process has it, and it is the right one.
    pub loaded: Loaded,
    /// Since when it is or was active.
    pub activated_at: Option<DateTime<Utc>>,
}

/// Whether the key of a version is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Another key has this version's place.
    Wrong,
}

/// A live process and the keys it has.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: &'static str,
    /// The versions that it has loaded.
    pub versions: Vec<i32>,
}

/// Every key version, rising, and every live process.
///
/// # Errors
/// When the database fails.
pub async fn status(ctx: &Ctx) -> Result<(Vec<Standing>, Vec<Holder>)> {
    let conn = ctx.db.reader();
    let counts = sealed::store::counts(conn).await?;
    let count = |version: i64| {
        let counted = counts.iter().find(|(key, _)| *key == version);
        counted.map_or(0, |(_, count)| *count)
    };
    let rows = store::list(conn).await?;
    let standings = rows.iter().map(|row| Standing {
        version: row.key_version,
        state: row.state,
        values: count(row.key_version),
        loaded: loaded(&ctx.keys, row),
        activated_at: row.activated_at,
    });
    let standings = standings.collect();
    Ok((standings, holders(ctx, conn).await?))
}

fn loaded(keys: &KeyRing, row: &Model) -> Loaded {
    match i32::try_from(row.key_version) {
        Ok(version) if keys.has(version) => {
            if fits(keys, version, row) {
                Loaded::Yes
            } else {
                Loaded::Wrong
            }
        }
        _ => Loaded::No,
    }
}

fn fits(keys: &KeyRing, version: i32, row: &Model) -> bool {
    row.check()
        .is_some_and(|check| keys.verify_check(version, &check).is_ok())
}

async fn holders(ctx: &Ctx, conn: &impl sea_orm::ConnectionTrait) -> Result<Vec<Holder>> {
    let lost_before = clock(conn).await? - micros(ctx.settings.queue.lease());
    let rows = process::store::list(conn).await?;
    let live = rows.into_iter().filter(|row| row.seen_us >= lost_before);
    Ok(live.map(holder).collect())
}

fn holder(row: ProcessModel) -> Holder {
    let versions = row.key_versions.as_deref().unwrap_or_default();
    Holder {
        kind: row.kind.as_str(),
        versions: serde_json::from_str(versions).unwrap_or_default(),
        name: row.name,
    }
}

/// The version that the next key would have.
///
/// # Errors
/// When the database fails, or the numbers are used up.
pub async fn next_version(ctx: &Ctx) -> Result<i32> {
    let rows = store::list(ctx.db.reader()).await?;
    let newest = rows.iter().map(|row| row.key_version).max().unwrap_or(0);
    let newest = ctx
        .keys
        .versions()
        .into_iter()
        .map(i64::from)
        .chain([newest]);
    i32::try_from(newest.max().unwrap_or(0) + 1).or(Err(broken("there is no free key version")))
}

/// Makes a key known under a version that nobody has used.
///
/// # Errors
/// A conflict when the version is taken by another key.
pub async fn add(ctx: &Ctx, version: i32, key: MasterKey, now: DateTime<Utc>) -> Result<()> {
    ctx.keys.add(version, key);
    register(&ctx.db, &ctx.keys, version, now).await?;
    let entry = entry(Action::KeyAdd, version, now);
    ctx.audit.record(ctx.db.writer(), &entry).await
}

fn entry(action: Action, version: i32, now: DateTime<Utc>) -> Entry {
    let id = i64::from(version);
    Entry::by_console(action, now).on(ObjectKind::Key, id, &format!("version {version}"))
}

/// Makes this version the active one.
///
/// # Errors
/// A conflict when it is unknown or retired, or a live process does not have it.
pub async fn activate(ctx: &Ctx, version: i32, now: DateTime<Utc>) -> Result<()> {
    crate::db::retried(|| try_activate(ctx, version, now)).await
}

async fn try_activate(ctx: &Ctx, version: i32, now: DateTime<Utc>) -> Result<()> {
    let tx = ctx.db.begin().await?;
    let rows = store::lock_all(&tx).await?;
    let row = known(&rows, version)?;
    if row.state == KeyState::Retired {
        let text = format!("key version {version} is retired; `slipway keys add` makes a new one");
        return Err(Error::conflict("key_retired", text));
    }
    if loaded(&ctx.keys, row) != Loaded::Yes {
        let text = format!(
            "key version {version} is not loaded here, so nothing could be proved about it; give it \
             as security.retired_keys.{version} or in security.keys_dir, and ask again"
        );
        return Err(Error::conflict("key_not_loaded", text));
    }
    let holders = holders(ctx, &tx).await?;
    let lacking = holders
        .iter()
        .filter(|holder| !holder.versions.contains(&version));
    let lacking: Vec<String> = lacking
        .map(|holder| format!("{} ({})", holder.name, holder.kind))
        .collect();
    if !lacking.is_empty() {
        let text = format!(
            "not every live process has key version {version}: {} do not; give it to them, wait \
             until `slipway keys status` shows it, and repeat `slipway keys activate {version}`",
            lacking.join(", ")
        );
        return Err(Error::conflict("key_not_everywhere", text));
    }
    store::activate(&tx, version, now).await?;
    let former = store::active_of(&rows);
    let entry = entry(Action::KeyActivate, version, now).before(&json!({ "active": former }));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes a version out of use.
///
/// # Errors
/// A conflict while it is active or a value is encrypted under it.
pub async fn retire(ctx: &Ctx, version: i32, now: DateTime<Utc>) -> Result<()> {
    crate::db::retried(|| try_retire(ctx, version, now)).await
}

async fn try_retire(ctx: &Ctx, version: i32, now: DateTime<Utc>) -> Result<()> {
    let tx = ctx.db.begin().await?;
    let rows = store::lock_all(&tx).await?;
    let row = known(&rows, version)?;
    if row.state == KeyState::Active {
        let text = format!(
            "key version {version} is the active one; `slipway keys activate` another one first"
        );
        return Err(Error::conflict("key_active", text));
    }
    let left = sealed::store::count_under(&tx, version).await?;
    if left > 0 {
        let text = format!(
            "{left} value(s) are still encrypted under key version {version}; \
             `slipway keys rewrap` moves them to the active one"
        );
        return Err(Error::conflict("key_in_use", text));
    }
    store::retire(&tx, version, now).await?;
    ctx.audit
        .record(&tx, &entry(Action::KeyRetire, version, now))
        .await?;
    tx.commit().await?;
    Ok(())
}

fn known(rows: &[Model], version: i32) -> Result<&Model> {
    let row = rows
        .iter()
        .find(|row| row.key_version == i64::from(version));
    row.ok_or_else(|| {
        let text = format!(
            "there is no key version {version}; `slipway keys status` shows those that there are"
        );
        Error::conflict("key_unknown", text)
    })
}

/// Proves the loaded keys on the database.
///
/// Each is the one that its version had before, and nothing is encrypted under one that is missing. A
/// new version leaves its check value, and in a new database the configured one becomes active.
///
/// # Errors
/// Says which key is wrong or missing and what to do, or that the database failed.
pub async fn check_keys(db: &Db, keys: &KeyRing, now: DateTime<Utc>) -> Result<()> {
    for version in keys.versions() {
        register(db, keys, version, now).await?;
    }
    let active = match store::active_of(&store::list(db.reader()).await?) {
        Some(active) => active,
        None => crate::db::retried(|| first_active(db, keys, now)).await?,
    };
    if !keys.has(active) {
        return Err(Error::Internal(anyhow::Error::msg(lacking_text(active))));
    }
    for (version, values) in sealed::store::counts(db.reader()).await? {
        let has = i32::try_from(version).is_ok_and(|version| keys.has(version));
        if !has {
            needed(version, values)?;
        }
    }
    Ok(())
}

/// Compares a loaded key with what its version left in the database, or leaves that.
///
/// # Errors
/// When it is another key, or the database fails.
pub(super) async fn register(
    db: &Db,
    keys: &KeyRing,
    version: i32,
    now: DateTime<Utc>,
) -> Result<()> {
    if let Some(row) = store::find(db.writer(), version).await? {
        if fits(keys, version, &row) {
            return Ok(());
        }
        return Err(broken(format!(
            "the master key of version {version} is not the one that this database was encrypted \
             with; give back the old key as security.encryption_key or \
             security.retired_keys.{version}, and let `slipway keys add` give the new one a version \
             of its own"
        )));
    }
    let check = keys
        .check_value(version)
        .map_err(|error| Error::Internal(error.into()))?;
    match store::insert(db.writer(), version, &check, now).await {
        Err(error) if is_duplicate(&error) => {
            // Another process was first: compare with what it left.
            Box::pin(register(db, keys, version, now)).await
        }
        outcome => Ok(outcome?),
    }
}

async fn first_active(db: &Db, keys: &KeyRing, now: DateTime<Utc>) -> Result<i32> {
    let tx = db.begin().await?;
    let rows = store::lock_all(&tx).await?;
    if let Some(active) = store::active_of(&rows) {
        return Ok(active);
    }
    let preferred = keys.preferred_version();
    store::activate(&tx, preferred, now).await?;
    tx.commit().await?;
    Ok(preferred)
}
