//! The scenarios: an installation under load and faults, a backlog that is full, and a busy target.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use indicatif::ProgressBar;
use tokio::time::Instant;

use super::{
    checker::{self, History, Kind, Violation},
    client::Client,
    faults::{Counts, Fault, schedule},
    fleet::Fleet,
    load::{self, Accounts, Shape},
    nemesis::{Lengths, Nemesis, Struck},
    record::{Design, read, records_file},
    recovery,
    report::{Figures, Report, fault_figures, late, strike_figures},
    site::{Site, Tuning},
};

/// How often it is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(100);

/// How an installation is put under faults.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often each fault happens.
    pub faults: Counts,
    /// How many deployments are asked for.
    pub deployments: usize,
    /// How many targets take turns.
    pub targets: usize,
    /// Requests in a second.
    pub rate: f64,
    /// How many workers there are.
    pub workers: usize,
    /// Deployments that a worker runs at once.
    pub concurrency: u32,
    /// Decides order and victims.
    pub seed: u64,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How long a deployment's work takes.
    pub work: Duration,
    /// Every so many deployments, one takes longer than a lease.
    pub long_every: u32,
    /// How long things last.
    pub lengths: Lengths,
    /// How long it may take until the last deployment has ended.
    pub patience: Duration,
}

/// An installation that is ready for load.
pub(super) struct Stage {
    pub(super) site: Arc<Site>,
    pub(super) fleet: Fleet,
    pub(super) client: Client,
}

impl Stage {
    pub(super) async fn set(
        folder: &Path,
        tuning: &Tuning,
        design: Design,
        targets: usize,
    ) -> anyhow::Result<Self> {
        let site = Arc::new(Site::start(folder, tuning).await?);
        let fleet = Fleet::start(Arc::clone(&site)).await?;
        let client = Client::sign_in(fleet.addresses()).await?;
        load::set_up(&client, &site, design, targets).await?;
        Ok(Self {
            site,
            fleet,
            client,
        })
    }

    /// Waits until nothing is queued or runs, and answers how long that took.
    pub(super) async fn until_idle(&self, patience: Duration) -> Duration {
        let began = Instant::now();
        while began.elapsed() < patience {
            let queued = self.client.list(Some("queued")).await;
            let running = self.client.list(Some("running")).await;
            if let (Ok(queued), Ok(running)) = (queued, running)
                && queued.is_empty()
                && running.is_empty()
            {
                break;
            }
            // pause: the installation needs its time
            tokio::time::sleep(LOOK).await;
        }
        began.elapsed()
    }

    /// What is wrong with the index and the processes once nothing is open.
    pub(super) async fn leftovers(&self, lease: Duration) -> anyhow::Result<Vec<Violation>> {
        let began = Instant::now();
        // A finished entry whose end Redis did not hear of is taken out by the reconciler.
        let mut entries = self.site.index_entries();
        while began.elapsed() < lease * 2 + Duration::from_secs(5)
            && entries.as_ref().is_ok_and(|entries| !entries.is_empty())
        {
            // pause: the reconciler needs its time
            tokio::time::sleep(LOOK).await;
            entries = self.site.index_entries();
        }
        let of = |kind: Kind| move |text: String| Violation { kind, text };
        let entries = entries?.into_iter().map(of(Kind::Leftover));
        let ends = self.fleet.unexpected_ends();
        let ends = ends.into_iter().map(of(Kind::ProcessEnded));
        let growth = self.fleet.growth().into_iter().map(of(Kind::Memory));
        Ok(entries.chain(ends).chain(growth).collect())
    }

    pub(super) fn records(&self) -> PathBuf {
        records_file(&self.site.folder)
    }
}

/// Puts an installation under load and faults, and judges what became of every deployment.
///
/// # Errors
/// When the suite itself cannot go on; what the installation does wrong is in the report.
pub async fn faults(options: &Options, folder: &Path, bar: &ProgressBar) -> anyhow::Result<Report> {
    let design = Design {
        failures: true,
        work: options.work,
        long_every: options.long_every,
        long: options.lease * 5 / 4,
    };
    let tuning = Tuning {
        lease: options.lease,
        backlog_limit: 1000,
        concurrency: options.concurrency,
    };
    let stage = Stage::set(folder, &tuning, design, options.targets).await?;
    stage.fleet.start_workers(options.workers)?;
    bar.set_length(options.deployments as u64);
    let began = Instant::now();
    let accounts = Accounts::default();
    let nemesis = Nemesis {
        site: Arc::clone(&stage.site),
        fleet: stage.fleet.clone(),
        accounts: accounts.clone(),
        deployments: options.deployments,
        lengths: options.lengths,
    };
    let strikes = schedule(&options.faults, options.deployments, options.seed);
    let shape = Shape {
        deployments: options.deployments,
        targets: options.targets,
        rate: options.rate,
    };
    let offer = async {
        load::offer(&stage.client, shape, &accounts, bar).await;
        anyhow::Ok(())
    };
    let (struck, ()) = tokio::try_join!(nemesis.strike_all(strikes), offer)?;
    let loaded = began.elapsed();
    bar.set_message("waiting for the last ones");
    stage.until_idle(options.patience).await;
    let elapsed = began.elapsed();
    let mut violations = stage.leftovers(options.lease).await?;
    let (accepted, refused) = accounts.take();
    let refused = refused.into_iter().map(|text| Violation {
        kind: Kind::Refused,
        text,
    });
    violations.extend(refused);
    let history = History {
        records: read(&stage.records())?,
        accepted,
        seen: stage.client.list(None).await?,
        design,
    };
    violations.extend(checker::check(&history));
    let recoveries = recovery::measure(&struck, &history.records);
    let figures = figures(&history, &stage, loaded, elapsed);
    stage.fleet.end();
    let faults = fault_figures(&number_of(&struck), &recoveries, options.lease);
    violations.extend(late(&faults));
    let mut report = Report::new("faults", told(options), figures, &violations);
    report.faults = faults;
    report.strikes = strike_figures(&struck);
    Ok(report)
}

fn number_of(struck: &[Struck]) -> BTreeMap<Fault, usize> {
    let mut numbers = BTreeMap::new();
    for it in struck {
        *numbers.entry(it.fault).or_default() += 1;
    }
    numbers
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
fn figures(history: &History, stage: &Stage, loaded: Duration, elapsed: Duration) -> Figures {
    let seen = &history.seen;
    let with = |status: &str| seen.iter().filter(|it| it.status == status).count() as f64;
    let interruptions: i64 = seen.iter().map(|it| it.interruptions).sum();
    let given_up = seen.iter().filter(|it| checker::is_given_up(it)).count();
    let memory = stage.fleet.memory();
    let largest = memory.iter().map(|(_, kib)| *kib).max().unwrap_or_default();
    Figures::from([
        ("accepted", history.accepted.len() as f64),
        ("succeeded", with("succeeded")),
        ("failed by design", with("failed") - given_up as f64),
        ("given up after three lost workers", given_up as f64),
        ("interruptions", interruptions as f64),
        (
            "deployments a second",
            seen.len() as f64 / elapsed.as_secs_f64(),
        ),
        ("seconds of load", loaded.as_secs_f64()),
        ("seconds in all", elapsed.as_secs_f64()),
        ("largest process, MiB", largest as f64 / 1024.0),
    ])
}

fn told(options: &Options) -> BTreeMap<&'static str, String> {
    let faults = options.faults.iter();
    let faults: Vec<String> = faults.map(|(fault, n)| format!("{fault}={n}")).collect();
    BTreeMap::from([
        ("deployments", options.deployments.to_string()),
        ("targets", options.targets.to_string()),
        ("workers", options.workers.to_string()),
        ("seed", options.seed.to_string()),
        ("rate", options.rate.to_string()),
        ("lease", format!("{:?}", options.lease)),
        ("faults", faults.join(",")),
    ])
}
