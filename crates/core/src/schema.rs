//! Bringing the schema to this version, and refusing to work on another one.

use std::fs::File;

use anyhow::{Context as _, bail};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use slipway_migration::{Migrator, MigratorTrait as _};

use crate::{db::Db, settings::Database};

/// The name of the lock that whoever migrates this database holds. MySQL 9 has no SHA1.
const MIGRATION_LOCK: &str = "CONCAT('slipway.migrate.', LEFT(SHA2(DATABASE(), 256), 16))";

/// How far a database's schema is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<String>,
    /// Migrations of this version that were not.
    pub pending: Vec<String>,
    /// Applied migrations that this version does not know: the database is newer.
    pub unknown: Vec<String>,
}

/// Compares the database with this version.
///
/// # Errors
/// When the database does not answer.
pub async fn status(db: &Db) -> anyhow::Result<SchemaStatus> {
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    let applied = applied(db).await?;
    Ok(SchemaStatus {
        pending: known
            .iter()
            .filter(|name| !applied.contains(name))
            .cloned()
            .collect(),
        unknown: applied
            .iter()
            .filter(|name| !known.contains(name))
            .cloned()
            .collect(),
        applied,
    })
}

async fn applied(db: &Db) -> anyhow::Result<Vec<String>> {
    let manager = slipway_migration::SchemaManager::new(db.reader().pool()?);
    if !manager.has_table("seaql_migrations").await? {
        return Ok(Vec::new());
    }
    let statement = Statement::from_string(
        db.backend(),
        "SELECT version FROM seaql_migrations ORDER BY version",
    );
    let rows = db.reader().query_all_raw(statement).await?;
    rows.iter()
        .map(|row| Ok(row.try_get("", "version")?))
        .collect()
}

/// Refuses a schema that is not exactly this version's.
///
/// # Errors
/// When migrations are missing or unknown; the message says what to run.
pub async fn require_current(db: &Db) -> anyhow::Result<()> {
    let status = status(db).await?;
    if !status.unknown.is_empty() {
        bail!(
            "the database was migrated by a newer Slipway (it has {}); start that version, or \
             restore a backup",
            status.unknown.join(", ")
        );
    }
    if !status.pending.is_empty() {
        bail!(
            "the database lacks {} migration(s), the first is {}; run `slipway migrate` with the \
             same configuration",
            status.pending.len(),
            status.pending.first().map_or("", String::as_str)
        );
    }
    Ok(())
}

/// Applies what is missing; several processes may do so at once.
///
/// # Errors
/// When the lock cannot be had or a migration fails.
pub async fn migrate(db: &Db, settings: &Database) -> anyhow::Result<SchemaStatus> {
    if db.backend() == DbBackend::Sqlite {
        migrate_sqlite(db, settings).await?;
    } else {
        migrate_mysql(db, settings).await?;
    }
    status(db).await
}

/// A lock on a file beside the database: SQLite has no named locks.
async fn migrate_sqlite(db: &Db, settings: &Database) -> anyhow::Result<()> {
    let path = settings
        .path
        .as_deref()
        .context("database.path is not set")?;
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".migrate.lock");
    let lock = tokio::task::spawn_blocking(move || -> std::io::Result<File> {
        let file = File::create(&lock_path)?;
        file.lock()?;
        Ok(file)
    })
    .await?
    .context("locking the migration lock file")?;
    Migrator::up(db.writer().pool()?, None)
        .await
        .context("migrating the database")?;
    drop(lock);
    Ok(())
}

/// A named lock on a connection of its own, which a transaction pins: whatever happens here, closing
/// it frees the lock, as it would not if the connection went back to a pool.
async fn migrate_mysql(db: &Db, settings: &Database) -> anyhow::Result<()> {
    let single = Database {
        max_connections: 1,
        ..settings.clone()
    };
    let lock_holder = Db::connect(&single).await?;
    let holder = lock_holder.begin().await?;
    let lock = format!("SELECT GET_LOCK({MIGRATION_LOCK}, 600) AS ok");
    let got: Option<i64> = match holder
        .query_one_raw(Statement::from_string(db.backend(), lock))
        .await?
    {
        Some(row) => row.try_get("", "ok")?,
        None => None,
    };
    if got != Some(1) {
        bail!("another process has been migrating this database for ten minutes");
    }
    let outcome = Migrator::up(db.writer().pool()?, None)
        .await
        .context("migrating the database");
    let unlock = format!("SELECT RELEASE_LOCK({MIGRATION_LOCK})");
    holder
        .query_one_raw(Statement::from_string(db.backend(), unlock))
        .await?;
    holder.commit().await?;
    outcome
}
