//! `slipway user`: accounts, for whoever holds the machine itself.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::{
    access::SystemRole,
    account::console,
    ctx::Ctx,
    db,
    field::{DisplayName, Email},
    settings::{Dialect, Settings},
    start,
};

use crate::data::DataFolder;

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an account and print its password once
    Create {
        /// The account's address
        email: String,
        /// Its name [default: the address]
        #[arg(long)]
        name: Option<String>,
        /// admin, manager, developer or viewer
        #[arg(long, default_value = "developer")]
        role: String,
        #[command(flatten)]
        place: Place,
    },
    /// Give an account a new password, print it once, and end its sessions
    ResetPassword {
        /// The account's address
        email: String,
        #[command(flatten)]
        place: Place,
    },
    /// Remove the second factor of somebody who has lost it, and end their sessions
    RemoveFactor {
        /// The account's address
        email: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Which installation is meant.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Data folder of `slipway up`, unless the configuration names a database
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file; the one that `SLIPWAY_ENV` names otherwise
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// When the database cannot be used, or the input is not acceptable.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create {
            email,
            name,
            role,
            place,
        } => {
            let name = name.as_deref().unwrap_or(&email);
            let name: DisplayName = parsed("name", name)?;
            let role = SystemRole::from_name(&role).with_context(|| {
                format!("{role} is no role: admin, manager, developer or viewer")
            })?;
            let address: Email = parsed("email", &email)?;
            let ctx = place.open().await?;
            let password = console::create(&ctx, address, name, role, db::now()).await?;
            show(&email, &password)
        }
        Command::ResetPassword { email, place } => {
            let ctx = place.open().await?;
            let password = console::reset_password(&ctx, &email, db::now()).await?;
            show(&email, &password)
        }
        Command::RemoveFactor { email, place } => {
            let ctx = place.open().await?;
            console::remove_factor(&ctx, &email, db::now()).await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{email} signs in without a second factor from now on")?;
            Ok(())
        }
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(what: &str, text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|why| anyhow!("{what} {why}"))
}

impl Place {
    /// Opens it. The queue is not needed here, so an empty one in memory stands in for it.
    pub(crate) async fn open(self) -> anyhow::Result<Ctx> {
        let settings = self.settings()?;
        let backends = slipway_queue::in_memory();
        start::open(settings, backends.queue, backends.bus).await
    }

    /// Opens it without a proof of the master keys.
    pub(crate) async fn open_unproved(self) -> anyhow::Result<Ctx> {
        let settings = self.settings()?;
        let backends = slipway_queue::in_memory();
        start::open_unproved(settings, backends.queue, backends.bus).await
    }

    fn settings(self) -> anyhow::Result<Settings> {
        let mut settings = start::unchecked_settings(self.config)?;
        if settings.database.dialect == Dialect::Sqlite && settings.database.path.is_none() {
            DataFolder::open(self.data)?.complete(&mut settings)?;
        }
        settings.check()?;
        Ok(settings)
    }
}

fn show(email: &str, password: &SecretString) -> anyhow::Result<()> {
    let password = password.expose_secret();
    writeln!(
        std::io::stdout().lock(),
        "{email} with password {password} (shown only this once)"
    )?;
    Ok(())
}
