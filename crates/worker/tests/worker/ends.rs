//! How steps end, and what follows for the deployment.

use std::fs;

use slipway_core::deployment::status::Status;

use crate::{
    look::reason,
    rig::{Rig, TARGET},
};

#[tokio::test]
async fn failed_step_is_tried_as_often_as_the_settings_say() {
    let rig = Rig::new("build:\n  - name: broken\n    run: echo trying; exit 3\n").await;
    let row = rig.deployed().await;
    let text = "Step broken exited with code 3.";
    assert_eq!(reason(&row), (Status::Failed, "step_failed", text));
    assert_eq!((row.attempt, row.fence), (3, 3));
    insta::assert_snapshot!(rig.steps(row.id).await, @"
    checkout checkout succeeded
    build broken failed 3
    release ship skipped
    activate activate skipped
    checkout checkout succeeded
    build broken failed 3
    release ship skipped
    activate activate skipped
    checkout checkout succeeded
    build broken failed 3
    release ship skipped
    activate activate skipped
    ");
    insta::assert_snapshot!(rig.log(row.id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    trying
    # Step broken exited with code 3.
    # Deployment 1 of main of project shop to target prod, attempt 2, on worker <worker>.
    # Commit <commit> Change index.html
    trying
    # Step broken exited with code 3.
    # Deployment 1 of main of project shop to target prod, attempt 3, on worker <worker>.
    # Commit <commit> Change index.html
    trying
    # Step broken exited with code 3.
    ");
    assert_eq!(rig.current(), None);
    rig.assert_no_run_folder();
}

#[tokio::test]
async fn step_that_may_fail_lets_the_pipeline_go_on() {
    let rig = Rig::new(
        "\
build:
  - { name: lint, run: exit 1, on_failure: continue }
  - { name: killed, run: 'kill -9 $$', on_failure: continue }
  - { name: compile, run: echo compiled }
",
    )
    .await;
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Succeeded);
    let rows = rig.step_rows(row.id).await;
    let killed = rows.iter().find(|row| row.name == "killed").unwrap();
    assert_eq!((killed.exit_code, killed.signal), (None, Some(9)));
    insta::assert_snapshot!(rig.steps(row.id).await, @"
    checkout checkout succeeded
    build lint failed 1
    build killed failed
    build compile succeeded 0
    release ship succeeded
    activate activate succeeded
    ");
    insta::assert_snapshot!(rig.log(row.id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # Step lint exited with code 1. The pipeline goes on all the same.
    # Step killed was ended by signal 9. The pipeline goes on all the same.
    compiled
    # Release 1 is live.
    ");
}

#[tokio::test]
async fn step_that_takes_too_long_is_stopped() {
    for (limit, text) in [
        ("timeout: 1s", "Step slow took longer than 1s."),
        ("idle_timeout: 1s", "Step slow printed nothing for 1s."),
    ] {
        let pipeline = format!("build:\n  - {{ name: slow, run: sleep 300, {limit} }}\n");
        let rig = Rig::with(&pipeline, &[("QUEUE__RETRY_ATTEMPTS", "1")]).await;
        let row = rig.deployed().await;
        assert_eq!(reason(&row), (Status::Failed, "step_timeout", text));
        assert_eq!(
            rig.steps(row.id).await,
            "checkout checkout succeeded\nbuild slow failed\nrelease ship skipped\n\
             activate activate skipped\n"
        );
    }
}

#[tokio::test]
async fn target_that_is_a_file_is_unusable() {
    for pipeline in [
        "build:\n  - name: hello\n    run: echo hello\n",
        "after:\n  - name: hello\n    run: echo hello\n",
    ] {
        let rig = Rig::with(pipeline, &[("QUEUE__RETRY_ATTEMPTS", "1")]).await;
        fs::write(rig.path(TARGET), "a file").unwrap();
        let row = rig.deployed().await;
        let (status, code, text) = reason(&row);
        assert_eq!((status, code), (Status::Failed, "target_unusable"));
        let folder = rig.path(TARGET);
        let expected = format!(
            "The target's folder cannot be used: {}: File exists (os error 17).",
            folder.display()
        );
        assert_eq!(text, expected);
        let log = rig.log(row.id).await;
        let expected = expected.replace(rig.dir.path().to_str().unwrap(), "<dir>");
        assert!(log.ends_with(&format!("# {expected}\n")), "{log}");
    }
}

#[tokio::test]
async fn missing_secret_fails_at_once_and_names_it() {
    let rig = Rig::new("build:\n  - { name: push, run: 'true', secrets: [TOKEN] }\n").await;
    let row = rig.deployed().await;
    let text = "A step names the secret TOKEN, which the project does not have.";
    assert_eq!(reason(&row), (Status::Failed, "secret_missing", text));
    assert_eq!(rig.log(row.id).await, format!("# {text}\n"));
    assert_eq!(row.attempt, 1);
    assert_eq!(rig.steps(row.id).await, "");
}
