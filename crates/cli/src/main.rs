//! `slipway`: everything in one process (`up`), and the tools of an installation.

mod audit;
mod data;
mod keys;
mod migrate;
mod up;
mod user;

use std::{env, process::ExitCode};

use clap::{Parser, Subcommand};
use slipway_core::{start, telemetry};
use slipway_worker::guard;

/// Deployments with an audit trail, a queue and secrets.
#[derive(Debug, Parser)]
#[command(name = "slipway", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with nothing else installed
    Up(up::Arguments),
    /// Bring the database to this version's schema
    Migrate(migrate::Arguments),
    /// Look after accounts
    #[command(subcommand)]
    User(user::Command),
    /// Verify and export the audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make master keys, and change them while everything runs
    #[command(subcommand)]
    Keys(keys::Command),
}

fn main() -> ExitCode {
    // The worker within `up` starts this program once more in this part, which needs nothing else.
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == guard::ARGUMENT
    {
        return guard::serve(rest);
    }
    command()
}

#[tokio::main]
async fn command() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words("slipway", &error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    // Most of them hold keys for a while.
    start::harden()?;
    match command {
        Command::Up(arguments) => up::run(arguments).await,
        Command::Migrate(arguments) => migrate::run(arguments).await,
        Command::User(command) => user::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Keys(command) => keys::run(command).await,
    }
}
