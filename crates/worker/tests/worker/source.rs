//! Which commit a deployment is made of, and what its steps may ask about it.

use slipway_core::{deployment::status::Status, project};

use crate::{look::reason, rig::Rig};

const SHOW: &str = "\
build:
  - name: show
    run: echo \"$SLIPWAY_REF,$SLIPWAY_BRANCH,$(cat index.html)\"; [ \"$SLIPWAY_COMMIT\" = \"$(git rev-parse HEAD)\" ]
";

/// What the step printed.
fn printed(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.starts_with('#')).collect()
}

#[tokio::test]
async fn branch_tag_and_commit_are_each_found() {
    let rig = Rig::new(SHOW).await;
    rig.repo.tag("v1");
    let first = rig.repo.head();
    rig.repo.branch("feature/x");
    rig.repo.commit_file("index.html", "two\n");
    rig.repo.switch("main");
    for (reference, expected) in [
        ("main", "main,main,one"),
        ("feature/x", "feature/x,feature/x,two"),
        ("v1", "v1,,one"),
        (first.as_str(), "<commit>,,one"),
    ] {
        let id = rig.deploy_ref(reference).await;
        let row = rig.finished(id).await;
        assert_eq!(reason(&row), (Status::Succeeded, "", ""), "{reference}");
        assert_eq!(printed(&rig.log(id).await), [expected]);
    }
}

#[tokio::test]
async fn unknown_ref_fails_at_once() {
    let rig = Rig::new(SHOW).await;
    let id = rig.deploy_ref("nowhere").await;
    let row = rig.finished(id).await;
    let text = "The repository has no branch, tag or full commit id \"nowhere\".";
    assert_eq!(reason(&row), (Status::Failed, "unknown_ref", text));
    assert_eq!(row.attempt, 1);
    insta::assert_snapshot!(rig.steps(id).await, @"
    checkout checkout failed
    build show skipped
    release ship skipped
    activate activate skipped
    ");
    insta::assert_snapshot!(rig.log(id).await, @r#"
    # Deployment 1 of nowhere of project shop to target prod, attempt 1, on worker <worker>.
    # The repository has no branch, tag or full commit id "nowhere".
    "#);
    rig.assert_no_run_folder();
}

#[tokio::test]
async fn unreachable_repository_is_tried_again() {
    let rig = Rig::bare(slipway_testkit::sqlite_database(), &[]).await;
    rig.project(Some(rig.repo.path())).await;
    rig.pipeline(SHOW).await;
    // Nothing listens on the discard port.
    let address = "https://127.0.0.1:9/shop.git";
    let change = project::service::ProjectChange {
        repository: Some(Some(
            project::repository::RepositoryUrl::parse(address, &[]).unwrap(),
        )),
        ..project::service::ProjectChange::default()
    };
    let now = slipway_core::db::now();
    project::service::update(&rig.ctx, &rig.admin, crate::rig::PROJECT, change, now)
        .await
        .unwrap();
    let row = rig.deployed().await;
    let (status, code, text) = reason(&row);
    assert_eq!((status, code), (Status::Failed, "repository_unreachable"));
    assert!(
        text.starts_with("The repository cannot be reached: "),
        "{text}"
    );
    assert_eq!(row.attempt, 3);
}

#[tokio::test]
async fn second_attempt_takes_the_commit_of_the_first_although_the_branch_has_moved() {
    let rig =
        Rig::new("build:\n  - name: flaky\n    run: cat index.html; [ -e \"$SECOND\" ]\n").await;
    rig.variable("SECOND", rig.path("second").to_str().unwrap(), None)
        .await;
    let (worker, id) = (rig.worker(), rig.deploy().await);
    worker.once().await;
    let failed = rig.row(id).await;
    assert_eq!((failed.status, failed.attempt), (Status::Queued, 1));
    assert_eq!(reason(&failed).1, "step_failed");

    let commit = rig.repo.head();
    rig.repo.commit_file("index.html", "two\n");
    std::fs::write(rig.path("second"), "").unwrap();
    let row = worker.finish(&rig, id).await;
    assert_eq!((row.status, row.attempt), (Status::Succeeded, 2));
    assert_eq!(row.commit_id, Some(commit));
    assert_eq!(reason(&row).1, "");
    assert_eq!(rig.live_file("index.html"), "one\n");
    insta::assert_snapshot!(rig.steps(id).await, @"
    checkout checkout succeeded
    build flaky failed 1
    release ship skipped
    activate activate skipped
    checkout checkout succeeded
    build flaky succeeded 0
    release ship succeeded
    activate activate succeeded
    ");
    insta::assert_snapshot!(rig.log(id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    one
    # Step flaky exited with code 1.
    # Deployment 1 of main of project shop to target prod, attempt 2, on worker <worker>.
    # Commit <commit> Change index.html
    one
    # Release 1 is live.
    ");
}

#[tokio::test]
async fn conditions_choose_the_steps() {
    let rig = Rig::new(
        "\
build:
  - { name: branch, run: echo branch, when: 'branch == \"main\"' }
  - { name: other, run: echo other, when: 'target == \"staging\"' }
  - { name: docs, run: echo docs, when: 'changed(\"docs/**\")' }
  - { name: pages, run: echo pages, when: 'changed(\"*.html\")' }
",
    )
    .await;
    // Before the first release everything counts as changed.
    let first = rig.deployed().await;
    insta::assert_snapshot!(rig.steps(first.id).await, @"
    checkout checkout succeeded
    build branch succeeded 0
    build other skipped
    build docs skipped
    build pages succeeded 0
    release ship succeeded
    activate activate succeeded
    ");
    rig.repo.commit_file("docs/a.md", "text");
    let second = rig.deployed().await;
    insta::assert_snapshot!(rig.log(second.id).await, @"
    # Deployment 2 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change docs/a.md
    branch
    # Step other is left out: its condition does not hold.
    docs
    # Step pages is left out: its condition does not hold.
    # Release 2 is live.
    ");
}

#[tokio::test]
async fn condition_that_cannot_be_judged_fails_its_step() {
    let rig = Rig::bare(slipway_testkit::sqlite_database(), &[]).await;
    rig.project(None).await;
    rig.pipeline("after:\n  - { name: odd, run: echo no, when: 'changed(\"a\")' }\n")
        .await;
    let row = rig.deployed().await;
    let text = "The condition of step odd failed: changed(\"a\") has no answer: the changed files \
                are not known.";
    assert_eq!(reason(&row), (Status::Failed, "pipeline_invalid", text));
    assert_eq!(rig.steps(row.id).await, "after odd failed\n");
}
