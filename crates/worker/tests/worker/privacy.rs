//! Secrets: where their values must never be seen.

use std::{fs, path::Path};

use slipway_core::{deployment::status::Status, target, vault};

use crate::{
    look::reason,
    rig::{PROJECT, Rig, TARGET},
};

const SECRET: &str = "hunter2-secret";

#[tokio::test]
async fn secret_is_masked_in_output_whatever_pieces_it_comes_in() {
    let rig = Rig::new(
        "\
build:
  - name: split
    run: |
      printf 'pw: %.7s' \"$TOKEN\"
      # Longer than an unfinished line is waited for.
      sleep 1
      printf '%s\\n' \"${TOKEN#hunter2}\"
      printf '%s' \"$TOKEN\" >&2
",
    )
    .await;
    rig.secret("TOKEN", SECRET, None).await;
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Succeeded);
    let log = rig.log(row.id).await;
    // Whether the unfinished line was shown during the pause or not.
    let printed: String = log.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(printed, "pw: [REDACTED][REDACTED]");
}

#[tokio::test]
async fn value_that_a_step_makes_is_masked_once_it_has_said_so() {
    let rig = Rig::new(
        "\
build:
  - name: make
    run: |
      made=$(echo znqr-ng-eha-gvzr | tr a-z n-za-m)
      printf '%s\\nabc\\n' \"$made\" > \"$SLIPWAY_MASK\"
      echo \"made $made\"
      echo \"again: $(printf '%s' \"x$made\" | base64)\" >&2
      # A file for the next step, not for the log.
      printf '%s' \"$made\" > made
  - name: later
    run: |
      echo \"later $(cat made)\"
      exit 1
",
    )
    .await;
    let row = rig.deployed().await;
    assert_eq!(row.status, Status::Failed);
    let log = rig.log(row.id).await;
    assert!(!log.contains("made-at-run-time"), "{log}");
    assert!(log.contains("\nmade [REDACTED]\n"), "{log}");
    assert!(log.contains("\nagain: eG[REDACTED]=\n"), "{log}");
    assert!(log.contains("\nlater [REDACTED]\n"), "{log}");
    let short = "# A value that a step wants masked has fewer than 4 bytes and is not.";
    assert!(log.contains(short), "{log}");
    let masks = rig.ctx.settings.worker.dir.join("masks");
    assert_eq!(fs::read_dir(masks).unwrap().count(), 0, "the pipe is gone");
}

#[tokio::test]
async fn secret_in_an_error_is_masked_in_log_and_reason() {
    let rig = Rig::with(
        "build:\n  - name: hunter2-secret\n    run: exit 1\n",
        &[("QUEUE__RETRY_ATTEMPTS", "1")],
    )
    .await;
    rig.secret("TOKEN", SECRET, None).await;
    let row = rig.deployed().await;
    let text = "Step [REDACTED] exited with code 1.";
    assert_eq!(reason(&row), (Status::Failed, "step_failed", text));
    assert!(rig.log(row.id).await.ends_with(&format!("# {text}\n")));
}

#[tokio::test]
async fn secret_in_a_commit_is_masked() {
    let rig = Rig::new("build:\n  - name: nothing\n    run: 'true'\n").await;
    rig.secret("TOKEN", SECRET, None).await;
    rig.repo.commit("Set the password to hunter2-secret");
    let row = rig.deployed().await;
    let subject = "Set the password to [REDACTED]";
    assert_eq!(row.commit_subject.as_deref(), Some(subject));
    let log = rig.log(row.id).await;
    assert!(
        log.contains(&format!("# Commit <commit> {subject}\n")),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn secret_is_in_no_file_and_no_command_line_while_a_step_has_it() {
    let rig = Rig::new(
        "build:\n  - name: wait\n    run: touch \"$AT/begun\"; until [ -e \"$AT/go\" ]; do sleep 0.02; done\n",
    )
    .await;
    rig.variable("AT", rig.dir.path().to_str().unwrap(), None)
        .await;
    rig.secret("TOKEN", SECRET, None).await;
    let id = rig.deploy().await;
    let running = rig.start();
    rig.until_exists("begun").await;

    let mut seen = Vec::new();
    files_with_secret(rig.dir.path(), &mut seen);
    assert!(seen.is_empty(), "{seen:?}");
    let command_lines = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).into_owned())
        });
    let command_lines: Vec<String> = command_lines.collect();
    assert!(command_lines.iter().any(|line| line.contains("$AT/begun")));
    assert!(!command_lines.iter().any(|line| line.contains(SECRET)));

    fs::write(rig.path("go"), "").unwrap();
    rig.end_of(id).await;
    running.drain().await;
}

fn files_with_secret(folder: &Path, seen: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_with_secret(&path, seen);
        } else if kind.is_file()
            && String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(SECRET)
        {
            seen.push(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn altered_secret_fails_the_deployment_at_once() {
    let rig = Rig::new("build:\n  - name: nothing\n    run: 'true'\n").await;
    rig.secret("TOKEN", SECRET, None).await;
    let conn = rig.ctx.db.writer();
    let target = target::service::get(&rig.ctx, &rig.admin, PROJECT, TARGET)
        .await
        .unwrap();
    let stored = vault::store::list(conn, target.project_id).await.unwrap();
    let value = stored.into_iter().next().unwrap().value.unwrap();
    let mut sealed = value.sealed().unwrap();
    sealed.ciphertext[0] ^= 1;
    let written = vault::sealed::store::reseal(conn, &value, &sealed).await;
    assert!(written.unwrap());
    let row = rig.deployed().await;
    let (status, code, text) = reason(&row);
    assert_eq!((status, code), (Status::Failed, "secret_integrity"));
    assert!(
        text.starts_with("The secret TOKEN could not be decrypted"),
        "{text}"
    );
    assert_eq!(row.attempt, 1);
}
