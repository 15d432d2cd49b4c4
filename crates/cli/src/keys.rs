//! `slipway keys`: making keys.

use std::io::Write as _;

use clap::Subcommand;
use secrecy::ExposeSecret as _;
use slipway_core::vault::key::MasterKey;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a new key of 64 hex characters, good for `ENCRYPTION_KEY` and `SESSION_SECRET`
    Generate,
}

/// Does it.
///
/// # Errors
/// When there is no randomness, or nobody reads the output.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Generate => {
            let key = MasterKey::generate()?.to_hex();
            writeln!(std::io::stdout().lock(), "{}", key.expose_secret())?;
        }
    }
    Ok(())
}
