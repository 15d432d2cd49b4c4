//! `slipway migrate`: the schema of the configured database.

use std::{io::Write as _, path::PathBuf};

use anyhow::bail;
use clap::Args;
use slipway_core::{db::Db, schema, start};

/// What `migrate` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only say what is missing; the exit code is not 0 if something is
    #[arg(long)]
    status: bool,
    /// Configuration file; the one that `SLIPWAY_ENV` names otherwise
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Migrates, or says what is missing.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = start::settings(arguments.config)?;
    let db = Db::connect(&settings.database).await?;
    let before = schema::status(&db).await?;
    let mut out = std::io::stdout().lock();
    if arguments.status {
        for name in &before.applied {
            writeln!(out, "applied  {name}")?;
        }
        for name in &before.pending {
            writeln!(out, "missing  {name}")?;
        }
        drop(out);
        schema::require_current(&db).await?;
        return Ok(());
    }
    if !before.unknown.is_empty() {
        bail!(
            "the database was migrated by a newer Slipway: it has {}",
            before.unknown.join(", ")
        );
    }
    drop(out);
    let after = schema::migrate(&db, &settings.database).await?;
    let done = after.applied.len() - before.applied.len();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{done} migration(s) applied, {} in all",
        after.applied.len()
    )?;
    Ok(())
}
