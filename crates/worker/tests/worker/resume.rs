//! Runs that meet what another run has left on the target.

use std::fs;

use slipway_core::{deployment::status::Status, target};
use slipway_worker::release::{Identity, Receipt};

use crate::{
    interruption::{take_back, waiting_in},
    look::reason,
    rig::{PROJECT, Rig, TARGET},
};

const ONLY_AFTER: &str = "after:\n  - { name: mark, run: echo run >> runs }\n";

/// The record of the usual target's runs.
async fn receipt(rig: &Rig) -> Receipt {
    let row = target::service::get(&rig.ctx, &rig.admin, PROJECT, TARGET)
        .await
        .unwrap();
    let name = format!("run-{}-{}", row.id, row.created_at.timestamp_micros());
    Receipt::open(&rig.path(TARGET), &name).unwrap()
}

#[tokio::test]
async fn commands_do_not_begin_where_a_newer_run_has_been() {
    let rig = Rig::new(ONLY_AFTER).await;
    let newer = Identity {
        deployment: 9,
        born: 9,
    };
    receipt(&rig).await.begin(7, newer).unwrap();
    let row = rig.deployed().await;
    let text = "A newer run was here: the target is held by deployment 9 under fence 7.";
    assert_eq!(reason(&row), (Status::Failed, "stale_fence", text));
    assert_eq!(row.attempt, 1);
    assert!(!rig.path(TARGET).join("runs").exists());
}

#[tokio::test]
async fn folder_that_cannot_keep_a_record_still_takes_commands() {
    let rig = Rig::new(ONLY_AFTER).await;
    fs::create_dir_all(rig.path(TARGET)).unwrap();
    fs::write(rig.path(TARGET).join(".slipway"), "").unwrap();
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Succeeded);
    let log = rig.log(row.id).await;
    assert!(log.contains("Nothing can be recorded"), "{log}");
}

#[tokio::test]
async fn failed_attempt_is_made_again_from_its_first_command() {
    let rig = Rig::new(
        "after:\n  - { name: mark, run: echo run >> runs }\n  - { name: twice, run: '[ $(wc -l < runs) = 2 ]' }\n",
    )
    .await;
    let row = rig.deployed().await;
    assert_eq!((row.status, row.attempt), (Status::Succeeded, 2));
    let next = rig.deploy().await;
    assert_eq!(
        rig.finished(next).await.status,
        Status::Failed,
        "it begins anew"
    );
}

#[tokio::test]
async fn live_release_is_not_built_again() {
    let rig = waiting_in("after", &[]).await;
    rig.pipeline(
        "build:\n  - { name: count, run: echo build >> \"$AT/builds\" }\nactivate: {}\nafter:\n  - name: wait\n    run: touch \"$AT/begun\"; until [ -e \"$AT/go\" ]; do sleep 0.02; done\n",
    )
    .await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    take_back(&rig, &rig.row(id).await).await;
    running.hand_back().await;
    fs::write(rig.path("go"), "").unwrap();
    let row = rig.finished(id).await;
    assert_eq!(
        (row.status, row.attempt, row.interruptions),
        (Status::Succeeded, 1, 1)
    );
    assert_eq!(fs::read_to_string(rig.path("builds")).unwrap(), "build\n");
    assert_eq!(rig.current(), Some(format!("releases/{id}")));
    assert_eq!(rig.releases().await, format!("{id} live"));
}

#[tokio::test]
async fn live_release_of_the_same_number_from_another_database_is_not_taken_for_ones_own() {
    let rig = Rig::new("build:\n  - { name: fine, run: 'true' }\n").await;
    let releases = rig.path(TARGET).join("releases/1");
    fs::create_dir_all(&releases).unwrap();
    std::os::unix::fs::symlink("releases/1", rig.path(TARGET).join("current")).unwrap();
    let row = rig.deployed().await;
    let text = "The release was refused: release 1 is live.";
    assert_eq!(
        reason(&row),
        (Status::Failed, "configuration_invalid", text)
    );
}
