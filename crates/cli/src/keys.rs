//! `slipway keys`: making master keys, and changing them while everything runs.

use std::{
    io::{IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use slipway_core::{
    ctx::Ctx,
    db,
    vault::{
        key::MasterKey,
        load::KEY_FILE,
        rotation::{
            entity::KeyState,
            rewrap::{self, Rewrapped},
            service::{self, Holder, Loaded, Standing},
        },
    },
};

use crate::{data, user::Place};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a new key of 64 hex characters, good for `ENCRYPTION_KEY` and `SESSION_SECRET`
    Generate,
    /// Show the versions of the master key, what is encrypted under each, and which process has which
    Status {
        /// Say it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Make the next version of the master key; nothing uses it before it is activated
    ///
    /// It is written into the key folder (`security.keys_dir`, or that of `slipway up`), from where
    /// running processes load it. Without a folder it is printed once.
    Add {
        /// Folder for the key's file, instead of `security.keys_dir`
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Encrypt with this version from now on, once every live process has it
    Activate {
        /// The version
        version: i32,
        #[command(flatten)]
        place: Place,
    },
    /// Move every stored value to the active version, while everything runs
    ///
    /// It can be interrupted and repeated at any time.
    Rewrap {
        /// Decrypt and encrypt everything, and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Say it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Take a version out of use, once nothing is encrypted under it
    Retire {
        /// The version
        version: i32,
        #[command(flatten)]
        place: Place,
    },
}

/// Does it.
///
/// # Errors
/// Says why not, and what to do first.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Generate => {
            let key = MasterKey::generate()?.to_hex();
            writeln!(std::io::stdout().lock(), "{}", key.expose_secret())?;
            Ok(())
        }
        Command::Status { json, place } => {
            let (keys, processes) = service::status(&place.open_unproved().await?).await?;
            if json {
                say(&as_json(&keys, &processes).to_string())
            } else {
                show(&keys, &processes)
            }
        }
        Command::Add { into, place } => add(&place.open().await?, into).await,
        Command::Activate { version, place } => {
            service::activate(&place.open().await?, version, db::now()).await?;
            say(&format!(
                "Key version {version} is active. Next: `slipway keys rewrap` moves what is \
                 encrypted under other versions."
            ))
        }
        Command::Rewrap {
            dry_run,
            json,
            place,
        } => rewrap(&place.open().await?, dry_run, json).await,
        Command::Retire { version, place } => {
            service::retire(&place.open().await?, version, db::now()).await?;
            say(&format!(
                "Key version {version} is retired: nothing in this database is encrypted under it, \
                 and it can be taken out of the configuration.\nBackups that were made until now \
                 still need it. Keep a copy of the key for as long as you keep them."
            ))
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

async fn add(ctx: &Ctx, into: Option<PathBuf>) -> anyhow::Result<()> {
    let version = service::next_version(ctx).await?;
    let key = MasterKey::generate()?;
    let text = key.to_hex();
    let folder = into.or_else(|| ctx.settings.security.keys_dir.clone());
    let file = folder.map(|folder| folder.join(format!("{KEY_FILE}{version}")));
    if let Some(file) = &file {
        if file.exists() {
            bail!("{} is there already", file.display());
        }
        data::write_key(file, &text)
            .with_context(|| format!("writing the key file {}", file.display()))?;
    }
    service::add(ctx, version, key, db::now()).await?;
    say(&added(version, &text, file.as_deref()))
}

fn added(version: i32, key: &SecretString, file: Option<&Path>) -> String {
    let next = format!(
        "wait until `slipway keys status` shows version {version} at every process, then \
         `slipway keys activate {version}`."
    );
    match file {
        Some(file) => format!(
            "Key version {version} is in {}. Keep a copy of it away from the database's \
             backups.\nNext: copy the file to every other machine of this installation, {next}",
            file.display()
        ),
        None => format!(
            "Key version {version}, shown only this once:\n\
             SLIPWAY__SECURITY__RETIRED_KEYS__{version}={}\n\
             Keep a copy of it away from the database's backups.\nNext: set this for every process \
             and restart them one by one, {next}",
            key.expose_secret()
        ),
    }
}

async fn rewrap(ctx: &Ctx, dry_run: bool, as_json: bool) -> anyhow::Result<()> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    let template = "{bar:40} {pos}/{len} values, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template)?);
    let report = |progress: rewrap::Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let done = rewrap::run(ctx, dry_run, report).await;
    bar.finish_and_clear();
    let Rewrapped {
        active,
        moved,
        damaged,
    } = done?;
    if as_json {
        let report = json!({
            "active": active, "moved": moved, "damaged": damaged, "dry_run": dry_run,
        });
        say(&report.to_string())?;
    } else if dry_run {
        say(&format!(
            "{moved} value(s) could be moved to key version {active}; nothing was written."
        ))?;
    } else {
        say(&format!("{moved} value(s) moved to key version {active}."))?;
    }
    if damaged > 0 {
        bail!(
            "{damaged} value(s) cannot be decrypted and stay as they are; the lines above name them. \
             Write those secrets anew, then repeat `slipway keys rewrap`"
        );
    }
    Ok(())
}

fn as_json(keys: &[Standing], processes: &[Holder]) -> serde_json::Value {
    let keys = keys.iter().map(|key| {
        json!({
            "version": key.version,
            "state": key.state.as_str(),
            "values": key.values,
            "loaded": loaded(key.loaded),
            "activated_at": key.activated_at,
        })
    });
    let processes = processes.iter().map(
        |process| json!({"name": process.name, "kind": process.kind, "keys": process.versions}),
    );
    json!({"keys": keys.collect::<Vec<_>>(), "processes": processes.collect::<Vec<_>>()})
}

fn loaded(loaded: Loaded) -> &'static str {
    match loaded {
        Loaded::Yes => "yes",
        Loaded::No => "no",
        Loaded::Wrong => "wrong",
    }
}

fn show(keys: &[Standing], processes: &[Holder]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "version  state    values    loaded here")?;
    for key in keys {
        let here = match key.loaded {
            Loaded::Wrong => "no: another key has this version",
            Loaded::Yes | Loaded::No => loaded(key.loaded),
        };
        writeln!(
            out,
            "{:<7}  {:<7}  {:<8}  {here}",
            key.version,
            key.state.as_str(),
            key.values
        )?;
    }
    writeln!(out)?;
    if processes.is_empty() {
        writeln!(out, "no live process")?;
    }
    for process in processes {
        let versions: Vec<String> = process.versions.iter().map(ToString::to_string).collect();
        let (name, kind) = (&process.name, process.kind);
        writeln!(out, "{name} ({kind}) has {}", versions.join(", "))?;
    }
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    let behind: i64 = keys
        .iter()
        .filter(|key| active.is_some_and(|active| active.version != key.version))
        .map(|key| key.values)
        .sum();
    if behind > 0 {
        writeln!(
            out,
            "\n{behind} value(s) are not under the active key; `slipway keys rewrap` moves them"
        )?;
    }
    Ok(())
}
