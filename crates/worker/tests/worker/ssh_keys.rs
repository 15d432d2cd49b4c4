//! A project's own SSH key and trusted hosts, with a real server on the other side.

use std::{fs, path::Path};

use slipway_core::{
    db,
    deployment::{entity::deployment::Model, status::Status},
    ssh::service,
    vault::{self, sealed},
};
use slipway_testkit::{SshServer, sqlite_database};

use crate::{
    look::reason,
    rig::{PROJECT, Rig, TARGET},
};

const PIPELINE: &str = "build:\n  - name: look\n    run: test -e index.html\n";

/// A project whose repository is behind a server that accepts nobody yet.
async fn world() -> (Rig, SshServer) {
    let server = SshServer::start();
    // Nobody has this key, so that only keys which a test makes open the door.
    let rig = Rig::bare(sqlite_database(), &[("QUEUE__RETRY_ATTEMPTS", "1")]).await;
    let url = server.url(rig.repo.path());
    rig.project(Some(Path::new(&url))).await;
    rig.pipeline(PIPELINE).await;
    (rig, server)
}

async fn made(rig: &Rig, target: Option<&str>) -> String {
    let made = service::generate(&rig.ctx, &rig.admin, PROJECT, target, db::now()).await;
    made.unwrap().public_key
}

async fn trusted(rig: &Rig, file: &Path) {
    let lines = fs::read_to_string(file).unwrap();
    service::trust(&rig.ctx, &rig.admin, PROJECT, &lines, db::now())
        .await
        .unwrap();
}

#[track_caller]
fn assert_refused(row: &Model, says: &str) {
    let (status, code, text) = reason(row);
    assert_eq!(
        (status, code),
        (Status::Failed, "configuration_invalid"),
        "{text}"
    );
    assert!(text.contains(says), "{text}");
}

#[tokio::test]
async fn repository_is_fetched_with_the_projects_own_key() {
    let (rig, server) = world().await;
    server.accept(&made(&rig, None).await);
    trusted(&rig, &server.known_hosts()).await;
    let row = rig.deployed().await;
    assert_eq!(
        row.status,
        Status::Succeeded,
        "{:?}\n{}",
        row.reason_text,
        server.log()
    );
    let used = vault::service::used(&rig.ctx, &rig.admin, row.id)
        .await
        .unwrap();
    assert_eq!((used[0].name.as_str(), used[0].version), ("ssh-key", 1));

    // Replaced, the old key is of no use and the new one not accepted yet.
    let new = made(&rig, None).await;
    assert_refused(
        &rig.deployed().await,
        "does not accept the worker's ssh key",
    );
    server.accept(&new);
    assert_eq!(rig.deployed().await.status, Status::Succeeded);

    // Deleted, nothing stands in for it: the account that runs the worker has no say.
    service::delete(&rig.ctx, &rig.admin, PROJECT, None)
        .await
        .unwrap();
    assert_eq!(rig.deployed().await.status, Status::Failed);
}

#[tokio::test]
async fn targets_own_key_goes_before_its_projects() {
    let (rig, server) = world().await;
    made(&rig, None).await;
    server.accept(&made(&rig, Some(TARGET)).await);
    trusted(&rig, &server.known_hosts()).await;
    assert_eq!(rig.deployed().await.status, Status::Succeeded);
}

#[tokio::test]
async fn key_is_offered_to_no_server_that_the_project_does_not_trust() {
    let (rig, server) = world().await;
    server.accept(&made(&rig, None).await);
    assert_refused(&rig.deployed().await, "does not know its server");
    trusted(&rig, &server.known_hosts_of_another_key()).await;
    assert_refused(
        &rig.deployed().await,
        "shows another host key than the known one",
    );
    let log = server.log_of_refused_client();
    assert!(!log.contains("userauth-request"), "{log}");

    // A changed key is accepted only when somebody says so.
    trusted(&rig, &server.known_hosts()).await;
    assert_eq!(rig.deployed().await.status, Status::Succeeded);
    let known = service::host_keys(&rig.ctx, &rig.admin, PROJECT)
        .await
        .unwrap();
    assert_eq!(known.len(), 2);
    for key in known {
        service::distrust(&rig.ctx, &rig.admin, PROJECT, key.id)
            .await
            .unwrap();
    }
    assert_refused(&rig.deployed().await, "does not know its server");
}

#[tokio::test]
async fn altered_ssh_key_fails_the_deployment() {
    let (rig, server) = world().await;
    server.accept(&made(&rig, None).await);
    trusted(&rig, &server.known_hosts()).await;
    let conn = rig.ctx.db.writer();
    let key = service::list(&rig.ctx, &rig.admin, PROJECT)
        .await
        .unwrap()
        .remove(0);
    let values = sealed::store::of_owner(conn, sealed::SSH_KEY, key.id.0)
        .await
        .unwrap();
    let mut sealed = values[0].sealed().unwrap();
    sealed.ciphertext[7] ^= 1;
    assert!(
        sealed::store::reseal(conn, &values[0], &sealed)
            .await
            .unwrap()
    );
    let row = rig.deployed().await;
    let (status, code, text) = reason(&row);
    assert_eq!((status, code), (Status::Failed, "secret_integrity"));
    assert!(text.starts_with("The SSH key of the project"), "{text}");
}

#[tokio::test]
async fn private_key_is_in_no_file_while_a_run_has_it_and_afterwards() {
    let (rig, server) = world().await;
    server.accept(&made(&rig, None).await);
    trusted(&rig, &server.known_hosts()).await;
    rig.pipeline(
        "build:\n  - name: wait\n    run: touch \"$AT/begun\"; until [ -e \"$AT/go\" ]; do sleep 0.02; done\n",
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;
    let traces = traces(&rig).await;
    let mut files = 0;
    look(rig.dir.path(), &traces, &mut files);
    assert!(files > 3, "known_hosts and the checkout are there");
    fs::write(rig.path("go"), "").unwrap();
    rig.end_of(id).await;
    running.drain().await;
    look(rig.dir.path(), &traces, &mut files);
    assert!(!rig.path("worker/runs").join(format!("{id}-1")).exists());
}

/// The private key as bytes, in hexadecimal, and as OpenSSH would write it.
async fn traces(rig: &Rig) -> Vec<Vec<u8>> {
    let key = service::list(&rig.ctx, &rig.admin, PROJECT)
        .await
        .unwrap()
        .remove(0);
    let place = sealed::Place {
        purpose: sealed::SSH_KEY,
        project: Some(key.project_id),
        scope: 0,
        owner: key.id.0,
        name: "ssh-key",
    };
    let seed = sealed::latest(rig.ctx.db.reader(), &rig.ctx.keys, &place).await;
    let seed = seed.unwrap().unwrap().expose().to_vec();
    let text = hex::encode(&seed).into_bytes();
    vec![seed, text, b"PRIVATE KEY".to_vec()]
}

fn look(folder: &Path, traces: &[Vec<u8>], files: &mut usize) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            look(&path, traces, files);
        } else if kind.is_file() {
            *files += 1;
            let bytes = fs::read(&path).unwrap();
            for trace in traces {
                let found = bytes
                    .windows(trace.len())
                    .any(|part| part == trace.as_slice());
                assert!(!found, "{}", path.display());
            }
        }
    }
}
