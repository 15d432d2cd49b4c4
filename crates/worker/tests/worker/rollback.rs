//! What happens to a release that turns out not to work.

use slipway_core::deployment::status::Status;

use crate::{look::reason, rig::Rig, site::Site};

const ONCE: &[(&str, &str)] = &[("QUEUE__RETRY_ATTEMPTS", "1")];
const AFTER: &str = "after:\n  - name: check\n    run: grep -q one index.html\n";

#[tokio::test]
async fn failed_health_check_puts_the_previous_release_back() {
    let site = Site::start(200).await;
    let pipeline = format!(
        "release:\n  - name: nothing\n    run: 'true'\n{}",
        site.section()
    );
    let rig = Rig::with(&pipeline, ONCE).await;
    rig.deployed().await;
    site.answers(503);
    rig.repo.commit_file("index.html", "two\n");
    let row = rig.deployed().await;

    let text = format!(
        "{} did not answer 200 in 2 attempts: answered 503 instead of 200. Release 1 was put back.",
        site.url
    );
    assert_eq!(
        reason(&row),
        (Status::Failed, "health_check_failed", text.as_str())
    );
    assert_eq!(rig.current().as_deref(), Some("releases/1"));
    assert_eq!(rig.live_file("index.html"), "one\n");
    assert_eq!(rig.releases().await, "1 live, 2 failed");
    assert!(rig.log(row.id).await.ends_with(&format!("# {text}\n")));

    site.answers(200);
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Succeeded);
    assert_eq!(rig.releases().await, "1 kept, 2 failed, 3 live");
    assert_eq!(rig.live_file("index.html"), "two\n");
}

#[tokio::test]
async fn failed_first_release_stays_and_the_reason_says_so() {
    let site = Site::start(503).await;
    let pipeline = format!(
        "release:\n  - name: nothing\n    run: 'true'\n{}",
        site.section()
    );
    let rig = Rig::with(&pipeline, ONCE).await;
    let row = rig.deployed().await;
    let (status, code, text) = reason(&row);
    assert_eq!((status, code), (Status::Failed, "health_check_failed"));
    let end = "Release 1 stays live: there is none before it to put back.";
    assert!(text.ends_with(end), "{text}");
    assert_eq!(rig.current().as_deref(), Some("releases/1"));
    assert_eq!(rig.releases().await, "1 live");
}

#[tokio::test]
async fn failed_step_after_the_switch_puts_the_previous_release_back_if_that_is_wanted() {
    for (wanted, expected, releases) in [
        (true, "Release 1 was put back.", "1 live, 2 failed"),
        (
            false,
            "Release 2 stays live, as the pipeline wants no rollback.",
            "1 kept, 2 live",
        ),
    ] {
        let pipeline = format!("{AFTER}activate: {{}}\nrollback_on_failure: {wanted}\n");
        let rig = Rig::with(&pipeline, ONCE).await;
        assert_eq!(rig.deployed().await.status, Status::Succeeded);
        rig.repo.commit_file("index.html", "two\n");
        let row = rig.deployed().await;
        let text = format!("Step check exited with code 1. {expected}");
        assert_eq!(reason(&row), (Status::Failed, "step_failed", text.as_str()));
        assert_eq!(rig.releases().await, releases);
        let live = if wanted { "releases/1" } else { "releases/2" };
        assert_eq!(rig.current().as_deref(), Some(live));
    }
}

#[tokio::test]
async fn release_that_was_put_back_is_shipped_anew_by_the_next_attempt() {
    let rig = Rig::new(&format!("{AFTER}activate: {{}}\n")).await;
    rig.deployed().await;
    rig.repo.commit_file("index.html", "two\n");
    let row = rig.deployed().await;
    assert_eq!((row.status, row.attempt), (Status::Failed, 3));
    assert_eq!(rig.current().as_deref(), Some("releases/1"));
    assert_eq!(rig.releases().await, "1 live, 2 failed");
    insta::assert_snapshot!(rig.steps(row.id).await, @"
    checkout checkout succeeded
    release ship succeeded
    activate activate succeeded
    after check failed 1
    checkout checkout succeeded
    release ship succeeded
    activate activate succeeded
    after check failed 1
    checkout checkout succeeded
    release ship succeeded
    activate activate succeeded
    after check failed 1
    ");
}

#[tokio::test]
async fn release_that_stayed_live_is_not_touched_by_the_next_attempt() {
    let rig = Rig::new(
        "\
release:
  - name: mark
    run: echo shipped >> marks
after:
  - name: flaky
    run: '[ -e \"$SECOND\" ]'
",
    )
    .await;
    rig.variable("SECOND", rig.path("second").to_str().unwrap(), None)
        .await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    worker.once().await;
    std::fs::write(rig.path("second"), "").unwrap();
    let row = worker.finish(&rig, id).await;
    assert_eq!((row.status, row.attempt), (Status::Succeeded, 2));
    assert_eq!(rig.live_file("marks"), "shipped\n");
    insta::assert_snapshot!(rig.steps(id).await, @"
    checkout checkout succeeded
    release ship succeeded
    release mark succeeded 0
    activate activate succeeded
    after flaky failed 1
    checkout checkout succeeded
    release ship skipped
    release mark skipped
    activate activate skipped
    after flaky succeeded 0
    ");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    # Release 1 is live.
    # Step flaky exited with code 1. Release 1 stays live: there is none before it to put back.
    # Deployment 1 of main of project shop to target prod, attempt 2, on worker <worker>.
    # Commit <commit> Change index.html
    # The release is live already, from an earlier run.
    ");
}
