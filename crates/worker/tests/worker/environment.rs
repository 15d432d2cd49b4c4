//! What a step finds in its environment, and what it must not.

use std::collections::BTreeSet;

use slipway_core::{deployment::status::Status, settings::load::environment};
use slipway_worker::deploy::INHERITED;

use crate::{
    look::reason,
    rig::{Rig, TARGET},
};

/// Set by the shell itself.
const SHELL: [&str; 4] = ["PWD", "OLDPWD", "SHLVL", "_"];
const OWN: [&str; 10] = [
    "SLIPWAY_BRANCH",
    "SLIPWAY_COMMIT",
    "SLIPWAY_DEPLOYMENT",
    "SLIPWAY_FENCE",
    "SLIPWAY_MASK",
    "SLIPWAY_PROJECT",
    "SLIPWAY_REF",
    "SLIPWAY_RELEASE",
    // The mark by which everything that a step has started is found again.
    "SLIPWAY_RUN",
    "SLIPWAY_TARGET",
];

#[tokio::test]
async fn step_sees_its_own_values_and_nothing_of_the_worker() {
    let rig = Rig::new("release:\n  - name: show\n    run: env\n    env: { EXTRA: plain }\n").await;
    rig.variable("PLAIN", "value", None).await;
    rig.secret("TOKEN", "hunter2-secret", None).await;
    let row = rig.deployed().await;
    let log = rig.log(row.id).await;
    let printed: Vec<(&str, &str)> = log
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    let names: BTreeSet<&str> = printed
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !SHELL.contains(name))
        .collect();
    let around = environment();
    let inherited = INHERITED
        .into_iter()
        .filter(|name| *name == "PATH" || around.contains_key(*name));
    let expected: BTreeSet<&str> = inherited
        .chain(OWN)
        .chain(["EXTRA", "PLAIN", "TOKEN"])
        .collect();
    assert_eq!(names, expected);
    for (name, value) in [
        ("SLIPWAY_PROJECT", "shop"),
        ("SLIPWAY_TARGET", TARGET),
        ("SLIPWAY_REF", "main"),
        ("SLIPWAY_BRANCH", "main"),
        ("SLIPWAY_COMMIT", "<commit>"),
        ("SLIPWAY_DEPLOYMENT", "1"),
        ("SLIPWAY_FENCE", "1"),
        ("SLIPWAY_RELEASE", "<dir>/prod/releases/1"),
        ("PWD", "<dir>/prod/releases/1"),
        ("PLAIN", "value"),
        ("TOKEN", "[REDACTED]"),
    ] {
        assert!(printed.contains(&(name, value)), "{name} in {log}");
    }
}

#[tokio::test]
async fn nearer_value_wins() {
    let rig = Rig::new(
        "\
env: { A: pipeline, B: pipeline, C: pipeline }
build:
  - name: show
    env: { F: step }
    run: |
      echo $A $B $C
      [ \"$D\" = secret-of-the-project ] && echo D
      [ \"$E\" = secret-of-the-target ] && echo E
      echo $F
",
    )
    .await;
    rig.target("other").await;
    rig.variable("B", "project", None).await;
    rig.variable("C", "project", None).await;
    rig.variable("C", "target", Some(TARGET)).await;
    rig.variable("C", "elsewhere", Some("other")).await;
    rig.variable("D", "project", None).await;
    rig.secret("D", "secret-of-the-project", None).await;
    rig.secret("E", "secret-of-the-project", None).await;
    rig.secret("E", "secret-of-the-target", Some(TARGET)).await;
    rig.secret("E", "secret-elsewhere", Some("other")).await;
    rig.secret("F", "secret-of-the-project", None).await;
    let row = rig.deployed().await;
    assert_eq!(reason(&row), (Status::Succeeded, "", ""));
    insta::assert_snapshot!(rig.log(row.id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    pipeline project target
    D
    E
    step
    # Release 1 is live.
    ");
}

#[tokio::test]
async fn step_that_names_secrets_gets_only_those() {
    let rig = Rig::new(
        "\
build:
  - { name: one, run: 'env | grep ^SECRET_ | sort', secrets: [SECRET_A] }
  - { name: none, run: 'env | grep ^SECRET_ || echo nothing', secrets: [] }
  - { name: all, run: 'env | grep ^SECRET_ | sort' }
",
    )
    .await;
    rig.secret("SECRET_A", "hunter2-secret", None).await;
    rig.secret("SECRET_B", "hunter3-secret", None).await;
    let row = rig.deployed().await;
    insta::assert_snapshot!(rig.log(row.id).await, @"
    # Deployment 1 of main of project shop to target prod, attempt 1, on worker <worker>.
    # Commit <commit> Change index.html
    SECRET_A=[REDACTED]
    nothing
    SECRET_A=[REDACTED]
    SECRET_B=[REDACTED]
    # Release 1 is live.
    ");
}
