//! What a pipeline does when everything works.

use std::fs;

use slipway_core::{deployment::status::Status, pipeline::Pipeline};

use crate::{
    look::reason,
    rig::{Rig, TARGET},
    site::Site,
};

const WHOLE: &str = "\
env: { GREETING: hello }
build:
  - name: compile
    run: |
      mkdir -p dist/storage
      cp index.html dist/
      echo \"$GREETING, compiled $(cat index.html)\"
artifact: dist
release:
  - name: check
    run: echo \"not live yet in $PWD\"; test \"$(readlink ../../current)\" != releases/$SLIPWAY_DEPLOYMENT
activate: { keep: 2, shared: [storage, .env] }
after:
  - name: announce
    run: echo \"live in $SLIPWAY_RELEASE\"; readlink ../../current
";

#[tokio::test]
async fn whole_pipeline_ends_with_a_live_release() {
    let site = Site::start(200).await;
    let rig = Rig::new(&format!("{WHOLE}{}", site.section())).await;
    let row = rig.deployed().await;

    assert_eq!(reason(&row), (Status::Succeeded, "", ""));
    assert_eq!(row.commit_id.as_deref(), Some(rig.repo.head().as_str()));
    assert_eq!(row.commit_subject.as_deref(), Some("Change index.html"));
    assert_eq!(row.commit_author.as_deref(), Some("Test"));
    assert_eq!((row.attempt, row.interruptions, row.fence), (1, 0, 1));
    assert!(row.started_at.is_some() && row.finished_at.is_some());
    assert_eq!((row.lease_token, row.lease_owner), (None, None));
    let snapshot: Pipeline = serde_json::from_str(&row.pipeline.unwrap()).unwrap();
    assert_eq!(snapshot.artifact.as_deref(), Some("dist"));

    assert_eq!(rig.current().as_deref(), Some("releases/1"));
    assert_eq!(rig.live_file("index.html"), "one\n");
    let live = rig.path(TARGET).join("current");
    let link = |name: &str| fs::read_link(live.join(name)).unwrap();
    assert_eq!(link("storage").to_str(), Some("../../shared/storage"));
    assert_eq!(link(".env").to_str(), Some("../../shared/.env"));
    assert!(!live.join(".git").exists());
    rig.assert_no_run_folder();

    insta::assert_snapshot!(rig.steps(row.id).await, @"
    checkout checkout succeeded
    build compile succeeded 0
    release ship succeeded
    release check succeeded 0
    activate activate succeeded
    after announce succeeded 0
    health health succeeded
    ");
    insta::assert_snapshot!(rig.log(row.id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    hello, compiled one
    not live yet in <dir>/prod/releases/1
    # Release 1 is live.
    live in <dir>/prod/releases/1
    releases/1
    # Healthy after 1 request(s).
    ");
}

#[tokio::test]
async fn next_release_shares_what_is_shared_and_the_oldest_goes() {
    let rig = Rig::new(WHOLE).await;
    rig.deployed().await;
    let shared = rig.path(TARGET).join("shared");
    fs::write(shared.join("storage/upload"), "kept").unwrap();
    fs::write(shared.join(".env"), "A=1").unwrap();
    rig.repo.commit_file("index.html", "two\n");
    rig.deployed().await;
    assert_eq!(rig.live_file("index.html"), "two\n");
    assert_eq!(rig.live_file("storage/upload"), "kept");
    assert_eq!(rig.live_file(".env"), "A=1");
    assert_eq!(rig.releases().await, "1 kept, 2 live");

    rig.deployed().await;
    assert_eq!(rig.releases().await, "2 kept, 3 live");
    assert!(!rig.path(TARGET).join("releases/1").exists());
    assert!(rig.path(TARGET).join("releases/2").is_dir());
}

#[tokio::test]
async fn project_without_a_repository_runs_its_steps_in_the_target() {
    let rig = Rig::bare(slipway_testkit::sqlite_database(), &[]).await;
    rig.project(None).await;
    rig.pipeline(
        "after:\n  - name: hello\n    run: pwd; env | grep -E '^SLIPWAY_(REF|BRANCH|COMMIT|RELEASE)=' | sort\n",
    )
    .await;
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Succeeded);
    assert_eq!(row.commit_id, None);
    assert_eq!(rig.steps(row.id).await, "after hello succeeded 0\n");
    insta::assert_snapshot!(rig.log(row.id).await, @"
    # Deployment 1 of project shop to target prod, attempt 1, on worker <worker>.
    <dir>/prod
    SLIPWAY_BRANCH=
    SLIPWAY_COMMIT=
    SLIPWAY_REF=
    SLIPWAY_RELEASE=
    ");
    // Nothing but the record of the run.
    let left: Vec<_> = fs::read_dir(rig.path(TARGET)).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].file_name(), ".slipway");
    assert_eq!(rig.releases().await, "");
}

#[tokio::test]
async fn two_targets_of_one_project_are_deployed_at_the_same_time() {
    let rig = Rig::new(
        "build:\n  - name: meet\n    run: touch \"$MEETING/$SLIPWAY_TARGET\"; until [ -e $MEETING/prod ] && [ -e $MEETING/staging ]; do sleep 0.02; done\n",
    )
    .await;
    fs::create_dir(rig.path("meeting")).unwrap();
    rig.variable("MEETING", rig.path("meeting").to_str().unwrap(), None)
        .await;
    rig.target("staging").await;
    let ids = [rig.deploy().await, rig.deploy_to("staging", None).await];
    // Each waits for the other, so neither would end if they took turns.
    let running = rig.start();
    for id in ids {
        assert_eq!(rig.end_of(id).await.status, Status::Succeeded);
    }
    running.drain().await;
    for target in [TARGET, "staging"] {
        let page = rig.path(target).join("current/index.html");
        assert_eq!(fs::read_to_string(page).unwrap(), "one\n");
    }
    let mirrors: Vec<_> = fs::read_dir(rig.path("worker/mirrors")).unwrap().collect();
    assert_eq!(mirrors.len(), 1);
    rig.assert_no_run_folder();
}

#[tokio::test]
async fn deployments_of_one_target_run_in_order() {
    let rig =
        Rig::new("build:\n  - name: note\n    run: echo $SLIPWAY_DEPLOYMENT >> \"$ORDER\"\n").await;
    rig.variable("ORDER", rig.path("order").to_str().unwrap(), None)
        .await;
    for _ in 0..3 {
        rig.deploy().await;
    }
    let running = rig.start();
    rig.end_of(slipway_core::id::DeploymentId(3)).await;
    running.drain().await;
    assert_eq!(fs::read_to_string(rig.path("order")).unwrap(), "1\n2\n3\n");
    assert_eq!(rig.releases().await, "1 kept, 2 kept, 3 live");
}
