//! `slipway keys rewrap` is killed again and again while secrets are written and deployments run.
//!
//! The short form runs with all tests. The full one has 10,000 secrets and 200 kills:
//! `SLIPWAY_TEST_REWRAP=10000 deploy/test.sh -E 'test(rewrap_killed)'`.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    ctx::Ctx,
    db,
    id::{SessionId, UserId},
    settings::load::{Source, load},
    start,
    vault::{
        sealed::{self, Place},
        service::{SecretInput, put},
        store,
    },
};
use slipway_testkit::{Program, variable};

use crate::{
    rig::{Client, Installation, Redis},
    up_demo::Up,
};

/// How much longer each killed run lives than the one before, until one is not killed.
const STEP: Duration = Duration::from_millis(50);
/// Each step fails its deployment if its secrets are not what was written.
const PIPELINE: &str = r#"
after:
  - name: compare
    secrets: [S_0, S_1]
    run: |
      case "$S_0" in S_0-*) ;; *) exit 1 ;; esac
      case "$S_1" in S_1-*) ;; *) exit 1 ;; esac
"#;

fn secrets() -> usize {
    variable("SLIPWAY_TEST_REWRAP").map_or(1_000, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_rewrap_loses_nothing_on_mysql() {
    let other = Installation::new(&Redis::shared());
    let installation = Installation::migrated(&Redis::shared()).set(
        "SLIPWAY__SECURITY__RETIRED_KEYS__2",
        other.variable("ENCRYPTION_KEY"),
    );
    let api = installation.start_api();
    let mut worker = installation.start_worker();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let ctx = ctx(root, installation.variables()).await;
    let slipway = || installation.program("slipway");
    scenario(&ctx, api.client().await, installation.folder(), slipway).await;
    worker.terminate();
    assert!(worker.wait(crate::rig::DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_rewrap_loses_nothing_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(folder.path(), &[]);
    let client = up.client(&up.password()).await;
    let slipway = || {
        let program = Program::workspace("slipway").folder(folder.path());
        program.env("XDG_DATA_HOME", folder.path())
    };
    // The commands look for the folder where `up` has it unless it is told otherwise.
    std::os::unix::fs::symlink(&data, folder.path().join("slipway")).unwrap();
    let added = slipway().args(["keys", "add"]).run();
    assert!(added.status.success(), "{added:?}");
    let path = |name: &str| data.join(name).display().to_string();
    let variables = [
        ("DATABASE__PATH", path("slipway.db")),
        ("SECURITY__ENCRYPTION_KEY_FILE", path("keys/encryption.key")),
        ("SECURITY__KEYS_DIR", path("keys")),
    ]
    .map(|(name, value)| (format!("SLIPWAY__{name}"), value));
    let ctx = ctx(folder.path().to_owned(), &variables.into()).await;
    scenario(&ctx, client, folder.path(), slipway).await;
    up.stop();
}

async fn ctx(dir: std::path::PathBuf, variables: &BTreeMap<String, String>) -> Ctx {
    let settings = load(&Source { config: None, dir }, variables).unwrap();
    let backends = slipway_queue::in_memory();
    start::open(settings, backends.queue, backends.bus)
        .await
        .unwrap()
}

async fn scenario(ctx: &Ctx, client: Client, folder: &Path, slipway: impl Fn() -> Program) {
    client.create_project("shop", PIPELINE).await;
    client
        .create_target("shop", "web", &folder.join("web"))
        .await;
    let count = secrets();
    let mut written = BTreeMap::new();
    for number in 0..count {
        let (name, value) = (format!("S_{number}"), format!("S_{number}-first"));
        write(ctx, &name, &value).await;
        written.insert(name, value);
    }
    activated(&slipway, 2).await;

    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_on(client.clone(), written, Arc::clone(&stop)));
    let deploying = tokio::spawn(deploy_on(client, Arc::clone(&stop)));
    let (wanted, mut kills, mut torn) = (if count > 1_000 { 200 } else { 20 }, 0, 0);
    // Back and forth, so that there is always something left to move.
    for active in [2, 1].into_iter().cycle() {
        activated(&slipway, active).await;
        for step in 1.. {
            let mut run = slipway().args(["keys", "rewrap"]).start();
            // pause: how long a run lives is what this test is about
            tokio::time::sleep(STEP * step).await;
            if run.poll().is_some() {
                break;
            }
            run.kill();
            kills += 1;
            torn += u32::from(under(ctx).await.len() > 1);
        }
        if kills >= wanted {
            break;
        }
    }
    assert!(torn > 0, "no run was killed half-way");
    activated(&slipway, 2).await;
    let finished = slipway().args(["keys", "rewrap"]).run();
    assert!(finished.status.success(), "{finished:?}");
    stop.store(true, Ordering::Relaxed);
    let (written, writes) = writing.await.unwrap();
    let deployments = deploying.await.unwrap();
    let _shown = writeln!(
        std::io::stderr(),
        "{kills} kills, {torn} of them half-way; {writes} writes and {deployments} deployments \
         meanwhile; values: {:?}",
        under(ctx).await
    );
    assert!(writes > 0 && deployments > 0);

    // Nothing was written under the first key after the second one was activated.
    let retired = slipway().args(["keys", "retire", "1"]).run();
    assert!(retired.status.success(), "{retired:?}");
    assert_eq!(written.len(), count);
    let mut kept = kept(ctx).await;
    // Every project has one more while `deploy/canary.sh` runs.
    kept.retain(|name, _| name != "CANARY");
    // Not compared as they are: a failure would print them.
    let differing: Vec<&String> = written
        .iter()
        .filter(|(name, value)| kept.get(*name) != Some(value))
        .map(|(name, _)| name)
        .collect();
    assert!(
        differing.is_empty() && kept.len() == written.len(),
        "{differing:?}"
    );
}

async fn activated(slipway: &impl Fn() -> Program, version: i32) {
    let version = version.to_string();
    slipway_testkit::eventually(crate::rig::DEADLINE, async || {
        let output = slipway().args(["keys", "activate", &version]).run();
        if output.status.success() {
            Ok(())
        } else {
            Err(output)
        }
    })
    .await;
}

/// Writes secrets until it is told to stop; answers what was accepted last.
async fn write_on(
    client: Client,
    mut written: BTreeMap<String, String>,
    stop: Arc<AtomicBool>,
) -> (BTreeMap<String, String>, usize) {
    let mut writes = 0;
    while !stop.load(Ordering::Relaxed) {
        // Each secret in turn, but not in the order in which they are moved.
        let number = (writes * 7_919) % written.len();
        let (name, value) = (format!("S_{number}"), format!("S_{number}-{writes}"));
        let path = format!("/api/v1/projects/shop/secrets/{name}");
        client
            .put(&path, &json!({ "value": value }))
            .await
            .expect(204);
        written.insert(name, value);
        writes += 1;
    }
    (written, writes)
}

async fn deploy_on(client: Client, stop: Arc<AtomicBool>) -> usize {
    let mut deployments = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = client.deploy("shop", "web").await;
        let mut ended = client.deployment(id).await;
        while matches!(ended["status"].as_str(), Some("queued" | "running")) {
            // pause: between two looks, as long as it takes
            tokio::time::sleep(STEP).await;
            ended = client.deployment(id).await;
        }
        assert_eq!(ended["status"], "succeeded", "{ended}");
        assert_eq!(ended["attempt"], 1, "{ended}");
        deployments += 1;
    }
    deployments
}

fn admin() -> Actor {
    Actor {
        limits: None,
        user: UserId(1),
        email: "admin@localhost".to_owned(),
        name: "Admin".to_owned(),
        role: SystemRole::Admin,
        credential: Credential::Session(SessionId(0)),
        address: String::new(),
    }
}

async fn write(ctx: &Ctx, name: &str, value: &str) {
    let input = SecretInput {
        name: name.parse().unwrap(),
        value: value.into(),
        target: None,
    };
    put(ctx, &admin(), "shop", input, db::now()).await.unwrap();
}

async fn under(ctx: &Ctx) -> Vec<(i64, i64)> {
    sealed::store::counts(ctx.db.writer()).await.unwrap()
}

/// What every secret decrypts to.
async fn kept(ctx: &Ctx) -> BTreeMap<String, String> {
    let project = slipway_core::project::store::find(ctx.db.writer(), "shop").await;
    let project = project.unwrap().unwrap().id;
    let stored = store::list(ctx.db.writer(), project).await.unwrap();
    let opened = stored.into_iter().map(|row| {
        let place = Place {
            purpose: sealed::SECRET,
            project: Some(project),
            scope: 0,
            owner: row.secret.id.0,
            name: &row.secret.name,
        };
        let value = row.value.expect("every secret has a value");
        let plain = sealed::open(&ctx.keys, &place, row.secret.version, &value).unwrap();
        let text = String::from_utf8(plain.expose().to_vec()).unwrap();
        (row.secret.name.clone(), text)
    });
    opened.collect()
}
