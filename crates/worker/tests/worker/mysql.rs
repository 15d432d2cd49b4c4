//! The same worker on MySQL or MariaDB.

use slipway_core::deployment::status::Status;
use slipway_testkit::mysql_database;

use crate::{
    look::reason,
    rig::{Rig, TARGET},
};

#[tokio::test]
async fn failed_and_successful_deployments_are_recorded_on_mysql_too() {
    let rig = Rig::bare(mysql_database(), &[]).await;
    rig.project(Some(rig.repo.path())).await;
    rig.pipeline(
        "\
build:
  - { name: lines, run: seq 5000 }
  - { name: umlaut, run: 'printf \"gr\\303\\274n \\360\\237\\230\\200\\n\"' }
release:
  - { name: flaky, run: '[ -e \"$SECOND\" ]' }
",
    )
    .await;
    rig.variable("SECOND", rig.path("second").to_str().unwrap(), Some(TARGET))
        .await;
    rig.secret("TOKEN", "hunter2-secret", None).await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    worker.once().await;
    let row = rig.row(id).await;
    let text = "Step flaky exited with code 1.";
    assert_eq!(reason(&row), (Status::Queued, "step_failed", text));
    std::fs::write(rig.path("second"), "").unwrap();
    let row = worker.finish(&rig, id).await;
    assert_eq!(
        (row.status, row.attempt, row.fence),
        (Status::Succeeded, 2, 2)
    );
    assert_eq!(rig.releases().await, "1 live");
    let log = rig.log(id).await;
    assert_eq!(log.lines().filter(|line| *line == "5000").count(), 2);
    assert_eq!(log.lines().filter(|line| *line == "grün 😀").count(), 2);
    insta::assert_snapshot!(rig.steps(id).await, @"
    checkout checkout succeeded
    build lines succeeded 0
    build umlaut succeeded 0
    release ship succeeded
    release flaky failed 1
    activate activate skipped
    checkout checkout succeeded
    build lines succeeded 0
    build umlaut succeeded 0
    release ship succeeded
    release flaky succeeded 0
    activate activate succeeded
    ");
}
