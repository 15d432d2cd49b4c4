//! Two shapes of load: more requests at once than fit, and one target with far more than others.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use indicatif::ProgressBar;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    checker::{self, History, Kind, Violation},
    client::{Accepted, Client},
    load::{Accounts, slug},
    record::{Design, Moment, read},
    recovery::quantile,
    report::{Figures, Report},
    scenario::Stage,
    site::Tuning,
};

const LEASE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(600);
/// The busiest that a machine's own noise may make waiting with a busy neighbour look.
const NOISE: Duration = Duration::from_millis(100);

/// How large the shapes are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Requests at the same time.
    pub parallel: usize,
    /// Places that are left for them.
    pub places: usize,
    /// Targets beside the busy one.
    pub targets: usize,
    /// What waits at the busy one.
    pub busy: usize,
    /// Requests for the others in a second.
    pub rate: f64,
    /// Workers.
    pub workers: usize,
}

/// Asks for many deployments at once at two processes when only some more may wait.
///
/// # Errors
/// When the suite itself cannot go on.
#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
pub async fn backlog(sizes: Sizes, folder: &Path, bar: &ProgressBar) -> anyhow::Result<Report> {
    let limit = 100.max(sizes.places);
    let design = Design {
        work: Duration::from_millis(5),
        ..Design::default()
    };
    let tuning = Tuning {
        lease: LEASE,
        backlog_limit: u32::try_from(limit)?,
        concurrency: 4,
    };
    let stage = Stage::set(folder, &tuning, design, 10).await?;
    let accounts = Accounts::default();
    for number in 0..limit - sizes.places {
        accounts.note(stage.client.deploy(number, &slug(number % 10)).await);
    }
    bar.set_length(sizes.parallel as u64);
    let (answers, mut violations) = ask_at_once(&stage.client, sizes.parallel).await;
    let mut full = 0_usize;
    for (key, (status, body)) in answers {
        let code = body.get("code").and_then(Value::as_str);
        match (status, body.get("id").and_then(Value::as_i64)) {
            (202, Some(id)) => accounts.note(Ok(Accepted {
                key,
                id,
                asked_ns: 0,
            })),
            (429, _) if code == Some("queue_full") => full += 1,
            _ => violations.push(wrong(format!("{key}: {status} {body}"))),
        }
    }
    let (accepted, refused) = accounts.take();
    violations.extend(refused.into_iter().map(wrong));
    let taken = accepted.len().saturating_sub(limit - sizes.places);
    if (taken, full) != (sizes.places, sizes.parallel - sizes.places) {
        violations.push(wrong(format!(
            "{taken} accepted and {full} refused as full"
        )));
    }
    stage.fleet.start_workers(sizes.workers)?;
    let accepted = accepted.len();
    violations.extend(judge(&stage, &accounts, design).await?);
    let figures = Figures::from([
        ("requests at once", sizes.parallel as f64),
        ("places left", sizes.places as f64),
        ("accepted", taken as f64),
        ("refused as full", full as f64),
        ("accepted in all", accepted as f64),
    ]);
    Ok(Report::new(
        "backlog",
        BTreeMap::new(),
        figures,
        &violations,
    ))
}

type Answers = Vec<(String, (u16, Value))>;

async fn ask_at_once(client: &Client, number: usize) -> (Answers, Vec<Violation>) {
    let mut requests = JoinSet::new();
    for number in 0..number {
        let client = client.clone();
        requests.spawn(async move {
            let key = format!("parallel-{number}");
            let answer = client.ask(number, &slug(number % 10), &key).await;
            (key, answer)
        });
    }
    let (mut answers, mut violations) = (Vec::new(), Vec::new());
    for (key, answer) in requests.join_all().await {
        match answer {
            Ok(answer) => answers.push((key, answer)),
            Err(error) => violations.push(wrong(format!("{key}: {error:#}"))),
        }
    }
    (answers, violations)
}

fn wrong(text: String) -> Violation {
    let kind = Kind::Refused;
    Violation { kind, text }
}

/// Waits for everything and judges it.
async fn judge(
    stage: &Stage,
    accounts: &Accounts,
    design: Design,
) -> anyhow::Result<Vec<Violation>> {
    stage.until_idle(PATIENCE).await;
    let mut violations = stage.leftovers(LEASE).await?;
    let history = History {
        records: read(&stage.records())?,
        accepted: accounts.take().0,
        seen: stage.client.list(None).await?,
        design,
    };
    violations.extend(checker::check(&history));
    stage.fleet.end();
    Ok(violations)
}

/// Compares how long deployments of many targets wait without and with a busy neighbour.
///
/// # Errors
/// When the suite itself cannot go on.
#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
pub async fn fairness(sizes: Sizes, folder: &Path, bar: &ProgressBar) -> anyhow::Result<Report> {
    let design = Design {
        work: Duration::from_millis(20),
        ..Design::default()
    };
    let tuning = Tuning {
        lease: LEASE,
        backlog_limit: u32::try_from(sizes.busy + 2 * sizes.targets + 100)?,
        concurrency: 4,
    };
    let stage = Stage::set(folder, &tuning, design, sizes.targets + 1).await?;
    stage.fleet.start_workers(sizes.workers)?;
    let accounts = Accounts::default();
    // The processes' first requests are slower than all others.
    offer_to_others(&stage.client, sizes, 0, &accounts).await;
    stage.until_idle(PATIENCE).await;
    let alone = offer_to_others(&stage.client, sizes, 1, &accounts).await;
    stage.until_idle(PATIENCE).await;
    bar.set_length(sizes.busy as u64);
    fill(&stage.client, sizes, &accounts, bar).await;
    let beside = offer_to_others(&stage.client, sizes, 2, &accounts).await;
    let still = stage.client.list(Some("queued")).await?;
    let still = still.iter().filter(|it| it.target == slug(0)).count();
    let mut violations = judge(&stage, &accounts, design).await?;
    let records = read(&stage.records())?;
    let started: BTreeMap<i64, u64> = records
        .iter()
        .filter(|it| it.moment == Moment::Started)
        .map(|it| (it.deployment, it.at_ns))
        .collect();
    let waits = |asked: &[Accepted]| {
        let mut waits: Vec<Duration> = asked
            .iter()
            .filter_map(|it| Some((started.get(&it.id)?, it.asked_ns)))
            .map(|(started, asked)| Duration::from_nanos(started.saturating_sub(asked)))
            .collect();
        waits.sort_unstable();
        [0.5, 0.99].map(|share| quantile(&waits, share))
    };
    let ([alone_50, alone_99], [beside_50, beside_99]) = (waits(&alone), waits(&beside));
    if beside_99 > alone_99 * 2 + NOISE {
        violations.push(Violation {
            kind: Kind::Late,
            text: format!("with a busy neighbour {beside_99:?}, without {alone_99:?}"),
        });
    }
    if still == 0 {
        violations.push(wrong(
            "the busy target was done before the others".to_owned(),
        ));
    }
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let figures = Figures::from([
        ("others' wait alone, p50 ms", millis(alone_50)),
        ("others' wait alone, p99 ms", millis(alone_99)),
        ("others' wait beside a busy one, p50 ms", millis(beside_50)),
        ("others' wait beside a busy one, p99 ms", millis(beside_99)),
        ("queued at the busy one", sizes.busy as f64),
        ("still queued there afterwards", still as f64),
        ("other targets", sizes.targets as f64),
    ]);
    Ok(Report::new(
        "fairness",
        BTreeMap::new(),
        figures,
        &violations,
    ))
}

/// One deployment for each target but the busy one, at a steady rate.
async fn offer_to_others(
    client: &Client,
    sizes: Sizes,
    round: usize,
    accounts: &Accounts,
) -> Vec<Accepted> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / sizes.rate.max(0.1)));
    let mut requests = JoinSet::new();
    for target in 1..=sizes.targets {
        ticks.tick().await;
        let client = client.clone();
        let number = round * (sizes.targets + 1) + target;
        requests.spawn(async move { client.deploy(number, &slug(target)).await });
    }
    let mut accepted = Vec::new();
    for outcome in requests.join_all().await {
        accepted.extend(outcome.as_ref().ok().cloned());
        accounts.note(outcome);
    }
    accepted
}

/// Fills the busy target's list, with many requests at once.
async fn fill(client: &Client, sizes: Sizes, accounts: &Accounts, bar: &ProgressBar) {
    let permits = Arc::new(tokio::sync::Semaphore::new(64));
    let mut requests = JoinSet::new();
    for number in 0..sizes.busy {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (client, accounts, bar) = (client.clone(), accounts.clone(), bar.clone());
        requests.spawn(async move {
            accounts.note(client.deploy(1_000_000 + number, &slug(0)).await);
            bar.inc(1);
            drop(permit);
        });
    }
    requests.join_all().await;
}
