//! The chaos suite in a short form: every kind of fault, and nothing is lost, doubled or stuck.
//!
//! How long recovery took is measured and kept, but judged only by `deploy/chaos.sh`.

use std::time::Duration;

use indicatif::ProgressBar;
use slipway_testkit::chaos::{
    Kind, Lengths, Options, Report, Sizes, backlog, fairness, faults, parse_counts,
};

#[track_caller]
fn assert_kept(report: &Report) {
    let broken = report.counts.iter().filter(|(name, count)| {
        // A busy machine may be slow, and this test must not fail for it.
        **count > 0 && **name != Kind::Late.name()
    });
    assert_eq!(broken.count(), 0, "{}", report.table());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_every_kind_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        faults: parse_counts("all,worker-kill=15").unwrap(),
        deployments: 150,
        targets: 20,
        rate: 10.0,
        workers: 3,
        concurrency: 4,
        seed: 7,
        lease: Duration::from_secs(2),
        work: Duration::from_millis(50),
        long_every: 40,
        lengths: Lengths {
            freeze_max: Duration::from_secs(3),
            outage: Duration::from_secs(2),
        },
        patience: Duration::from_secs(60),
    };
    let report = faults(&options, folder.path(), &ProgressBar::hidden())
        .await
        .unwrap();
    assert_kept(&report);
    let struck: usize = report.faults.iter().map(|it| it.struck).sum();
    assert_eq!(struck, 15 + 11, "{}", report.table());
    assert_eq!(report.figures["accepted"], 150.0, "{}", report.table());
}

#[tokio::test(flavor = "multi_thread")]
async fn full_backlog_and_busy_neighbour_are_fair() {
    let sizes = Sizes {
        parallel: 60,
        places: 10,
        targets: 20,
        busy: 60,
        rate: 20.0,
        workers: 2,
    };
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (
        folder.path().join("backlog"),
        folder.path().join("fairness"),
    );
    let hidden = ProgressBar::hidden();
    let full = backlog(sizes, &first, &hidden).await.unwrap();
    assert_kept(&full);
    assert_eq!(full.figures["accepted"], 10.0, "{}", full.table());
    assert_kept(&fairness(sizes, &second, &hidden).await.unwrap());
}
