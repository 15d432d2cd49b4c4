//! Runs the chaos suite against the workspace's binaries beside this one. `deploy/chaos.sh` builds
//! and starts it; nothing of it is ever shipped.

#![expect(clippy::print_stdout, reason = "a program that reports to a person")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use slipway_testkit::chaos::{
    Counts, Fault, Lengths, Options, Report, Sizes, backlog, fairness, faults, parse_counts, step,
};
use tokio::signal::unix::{SignalKind, signal};

/// The status of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Runs Slipway's processes with servers of their own, breaks things on purpose while clients ask
/// for deployments, and checks that none is lost, doubled, stuck, late or out of order.
///
/// Ends with status 0 only if no promise was broken.
#[derive(Debug, Parser)]
#[command(name = "deploy/chaos.sh")]
struct Arguments {
    /// What to run.
    #[arg(long, value_enum, default_value = "faults")]
    scenario: Scenario,
    /// How many times a worker is killed: the same as --faults worker-kill=N, and stronger. 100
    /// where no fault is named at all.
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// How many deployments are asked for.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    deployments: usize,
    /// Faults as NAME or NAME=COUNT with commas between, `all` for every kind: worker-kill,
    /// worker-freeze, api-kill, rolling-restart, redis-flush, redis-kill, redis-memory,
    /// redis-readonly, redis-freeze, redis-network, database-kill, database-network.
    #[arg(long, value_name = "LIST", default_value = "", value_parser = parse_counts)]
    faults: Counts,
    /// Decides order, victims and lengths; the same seed gives the same schedule.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many workers there are; every other one reaches its servers through the fault proxies.
    #[arg(long, value_name = "W", default_value_t = 4)]
    workers: usize,
    /// Deployments that each worker runs at once.
    #[arg(long, value_name = "N", default_value_t = 4)]
    concurrency: u32,
    /// How many targets take turns.
    #[arg(long, value_name = "N", default_value_t = 50)]
    targets: usize,
    /// Requests in a second; few enough that the machine is not busy all the time.
    #[arg(long, value_name = "R", default_value_t = 16.0)]
    rate: f64,
    /// How long a lease lasts, in milliseconds; everything else keeps its ratio to it.
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    lease: u64,
    /// How long a deployment's work takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    work: u64,
    /// Every Nth deployment takes longer than a lease; 0 is none.
    #[arg(long, value_name = "N", default_value_t = 0)]
    long_every: u32,
    /// The longest that a worker is frozen, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    freeze_max: u64,
    /// The longest that a service is away, in seconds.
    #[arg(long, value_name = "S", default_value_t = 10)]
    outage: u64,
    /// Where report.json, report.html, records and logs go.
    #[arg(long, value_name = "DIR", default_value = "target/chaos")]
    report: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The step of the suite's own deployments.
    #[command(hide = true)]
    Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Load and faults.
    Faults,
    /// 500 requests at once when ten more fit.
    Backlog,
    /// 200 targets, one of them with 1,000 waiting.
    Fairness,
    /// One after the other.
    All,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Command::Step) = arguments.command {
        return Ok(ExitCode::from(step()?));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    // Whatever was started ends with what the runtime holds.
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = run(&arguments) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                Ok(ExitCode::from(INTERRUPTED))
            }
            _ = terminated.recv() => Ok(ExitCode::from(INTERRUPTED)),
        }
    })
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let folder = std::path::absolute(&arguments.report)?;
    let wanted = |scenario| [scenario, Scenario::All].contains(&arguments.scenario);
    let mut reports: Vec<Report> = Vec::new();
    for scenario in [Scenario::Faults, Scenario::Backlog, Scenario::Fairness] {
        if !wanted(scenario) && arguments.scenario != Scenario::All {
            continue;
        }
        let place = folder.join(format!("{scenario:?}").to_lowercase());
        if place.exists() {
            std::fs::remove_dir_all(&place)
                .with_context(|| format!("emptying {}", place.display()))?;
        }
        let bar = bar(scenario);
        let report = match scenario {
            Scenario::Faults | Scenario::All => faults(&options(arguments), &place, &bar).await?,
            Scenario::Backlog => backlog(sizes(arguments), &place, &bar).await?,
            Scenario::Fairness => fairness(sizes(arguments), &place, &bar).await?,
        };
        bar.finish_and_clear();
        println!("{}", report.table());
        reports.push(report);
        Report::write(&reports, &folder)?;
    }
    println!("report: {}", folder.join("report.html").display());
    if reports.iter().all(Report::is_clean) {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

fn bar(scenario: Scenario) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{prefix} {wide_bar} {pos}/{len} accepted, {elapsed_precise} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(format!("{scenario:?}"));
    bar
}

fn options(arguments: &Arguments) -> Options {
    let mut counts = arguments.faults.clone();
    let kills = arguments.kills.or(counts.is_empty().then_some(100));
    counts.extend(kills.map(|kills| (Fault::WorkerKill, kills)));
    Options {
        faults: counts,
        deployments: arguments.deployments,
        targets: arguments.targets,
        rate: arguments.rate,
        workers: arguments.workers,
        concurrency: arguments.concurrency,
        seed: arguments.seed,
        lease: Duration::from_millis(arguments.lease),
        work: Duration::from_millis(arguments.work),
        long_every: arguments.long_every,
        lengths: Lengths {
            freeze_max: Duration::from_secs(arguments.freeze_max),
            outage: Duration::from_secs(arguments.outage),
        },
        patience: Duration::from_secs(300),
    }
}

fn sizes(arguments: &Arguments) -> Sizes {
    Sizes {
        parallel: 500,
        places: 10,
        targets: 199,
        busy: 1000,
        rate: arguments.rate,
        workers: arguments.workers,
    }
}
