//! `slipway audit`: the audit trail, for whoever holds the machine itself.

use std::io::{BufWriter, Write as _};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use slipway_core::{
    audit::{
        line,
        service::export_all,
        verify::{self, Noted, Report},
    },
    ctx::Ctx,
    id::AuditId,
};

use crate::user::Place;

/// Entries that are read at once.
const ROWS: u64 = 1_000;

/// What can be done with the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look for entries that were edited, removed, put in or reordered
    ///
    /// The last line names the end of the chain. Noted elsewhere and given back with `--noted`, it
    /// also shows that nobody put back an old copy of the whole database.
    Verify {
        /// An end of the chain that was noted before, as SEAL:HASH
        #[arg(long, value_name = "SEAL:HASH", value_parser = noted)]
        noted: Option<Noted>,
        /// Say it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Write every entry as a line of JSON, oldest first
    Export {
        /// Only entries after this one
        #[arg(long, value_name = "ID", default_value_t = 0)]
        after: i64,
        #[command(flatten)]
        place: Place,
    },
}

fn noted(text: &str) -> Result<Noted, String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(seal, hash)| Some((seal.parse().ok()?, hash.to_owned())));
    parts.ok_or_else(|| "is not a number, a colon and a hash".to_owned())
}

/// Does it.
///
/// # Errors
/// When the database cannot be used, or the trail was altered.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Verify { noted, json, place } => {
            let ctx = place.open().await?;
            let report = verify::run(&ctx, noted.as_ref()).await?;
            say(&report, json)?;
            match report.findings.len() {
                0 => Ok(()),
                count => bail!("{count} finding(s): the audit trail was altered"),
            }
        }
        Command::Export { after, place } => export(&place.open().await?, AuditId(after)).await,
    }
}

fn say(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let findings = report.findings.iter().map(ToString::to_string);
    if json {
        let document = serde_json::json!({
            "entries": report.entries,
            "unsealed": report.unsealed,
            "pruned": report.head.pruned_entries,
            "seal": report.head.seal,
            "hash": report.head.hash,
            "findings": findings.collect::<Vec<_>>(),
        });
        writeln!(out, "{document}")?;
        return Ok(());
    }
    for finding in findings {
        writeln!(out, "ALTERED  {finding}")?;
    }
    writeln!(
        out,
        "{} entries verified, {} of them not sealed yet; {} removed by age before",
        report.entries, report.unsealed, report.head.pruned_entries
    )?;
    writeln!(
        out,
        "end of the chain: {}:{}",
        report.head.seal, report.head.hash
    )?;
    Ok(())
}

async fn export(ctx: &Ctx, mut after: AuditId) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    loop {
        let rows = export_all(ctx, after, ROWS).await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for row in rows {
            let line = serde_json::to_string(&line::Line::from(row))?;
            writeln!(out, "{line}").context("writing the export")?;
        }
    }
    out.flush().context("writing the export")
}
