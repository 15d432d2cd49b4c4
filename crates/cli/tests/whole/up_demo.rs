//! `slipway up`: one process, one folder, nothing else.

use std::{fs, path::Path};

use serde_json::json;
use slipway_testkit::{Program, RunningProgram, eventually};
use tempfile::TempDir;

use crate::rig::{Client, DEADLINE};

const EMAIL: &str = "admin@localhost";
/// What nobody may ever find again.
const SECRET: &str = "k9vQ-mango-7Zt4-harbour-X2";
/// Prints the secret in some of the ways in which programs do.
const TELLTALE: &str = r#"
after:
  - name: tell
    run: |
      echo "value: $CANARY"
      printf 'plain:%s:\n' "$CANARY" >&2
      printf '%s' "$CANARY" | base64
      printf 'x%s' "$CANARY" | base64
      printf 'xy%s' "$CANARY" | base64
"#;

/// A running `slipway up`.
pub(crate) struct Up {
    pub(crate) program: RunningProgram,
    address: String,
}

impl Up {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let program = program(folder).args(arguments).start();
        let address = program.wait_for_line(DEADLINE, |line| {
            line.strip_prefix("Slipway ")?
                .split_once(" is running at ")
                .map(|(_, at)| at.to_owned())
        });
        Self { program, address }
    }

    pub(crate) fn password(&self) -> String {
        self.program.wait_for_line(DEADLINE, |line| {
            let rest = line.strip_prefix("Sign in as admin@localhost with password ")?;
            rest.split(' ').next().map(str::to_owned)
        })
    }

    pub(crate) async fn client(&self, password: &str) -> Client {
        Client::new(&self.address).sign_in(EMAIL, password).await
    }

    /// Ends it as a service manager does, and returns all that it has printed.
    pub(crate) fn stop(mut self) -> String {
        self.program.terminate();
        assert!(
            self.program.wait(DEADLINE).success(),
            "{}",
            self.program.logs()
        );
        self.program.logs()
    }
}

fn program(folder: &Path) -> Program {
    let data = folder.join("data");
    Program::workspace("slipway")
        .args(["up".as_ref(), "--data".as_ref(), data.as_os_str()])
        .args(["--port", "0"])
        .folder(folder)
}

/// Makes an installation below this folder's `data`.
pub(crate) fn started_and_stopped(folder: &Path) {
    Up::start(folder, &[]).stop();
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn demo_is_deployed_with_its_secret_masked() {
    let folder = folder();
    let up = Up::start(folder.path(), &["--demo"]);
    let client = up.client(&up.password()).await;
    let id: i64 = up.program.wait_for_line(DEADLINE, |line| {
        let at = line.strip_prefix("Demo deployment: ")?;
        at.rsplit('/').next()?.parse().ok()
    });
    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(ended["project"]["slug"], "demo", "{ended}");
    let log = client.log(id).await;
    assert!(log.contains("\nThe token is [REDACTED]\n"), "{log}");
    let page = folder.path().join("data/demo/site/current/index.html");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains(ended["commit"].as_str().unwrap()), "{page}");
    up.stop();
}

#[tokio::test]
async fn known_secret_is_found_nowhere_once_it_was_written() {
    let folder = folder();
    let up = Up::start(folder.path(), &[]);
    let client = up.client(&up.password()).await;
    client.create_project("shop", TELLTALE).await;
    client
        .create_target("shop", "web", &folder.path().join("data/web"))
        .await;
    let secret = "/api/v1/projects/shop/secrets/CANARY";
    let mut said = vec![
        client
            .put(secret, &json!({ "value": SECRET }))
            .await
            .expect(204)
            .text,
    ];
    let id = client.deploy("shop", "web").await;
    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let log = client.log(id).await;
    assert_eq!(log.matches("[REDACTED]").count(), 5, "{log}");

    for path in [
        "projects/shop/secrets".to_owned(),
        "projects/shop/variables".to_owned(),
        "projects/shop/pipeline".to_owned(),
        "deployments".to_owned(),
        format!("deployments/{id}"),
        format!("deployments/{id}/log"),
        format!("deployments/{id}/log?format=json"),
    ] {
        said.push(
            client
                .get(&format!("/api/v1/{path}"))
                .await
                .expect(200)
                .text,
        );
    }
    let mut events = client.events(id, 0).await;
    while let Some(event) = events.next().await {
        said.push(event.data);
    }
    // Searched once while it runs and once when everything is on the disk.
    assert_absent_below(folder.path());
    said.push(up.stop());
    assert_absent_below(folder.path());
    for text in &said {
        assert_absent(text.as_bytes(), "an answer or the log");
    }
}

/// The secret's traces: itself, and its middle in base64 at each of the three offsets.
fn traces() -> Vec<Vec<u8>> {
    let mut traces = vec![SECRET.as_bytes().to_vec()];
    for lead in ["", "x", "xy"] {
        let script = format!("printf '%s' '{lead}{SECRET}' | base64");
        let encoded = Program::new("sh").args(["-c", &script]).run().stdout;
        // The first and the last characters depend on what stands around the secret.
        traces.push(encoded[4..encoded.len() - 5].to_vec());
    }
    traces
}

#[track_caller]
fn assert_absent(bytes: &[u8], place: &str) {
    for trace in traces() {
        let found = bytes.windows(trace.len()).any(|window| window == trace);
        assert!(!found, "{} in {place}", String::from_utf8_lossy(&trace));
    }
}

#[track_caller]
fn assert_absent_below(folder: &Path) {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files += 1;
                assert_absent(
                    &fs::read(entry.path()).unwrap(),
                    &entry.path().to_string_lossy(),
                );
            }
        }
    }
    assert!(files >= 4, "database and keys are there");
}

#[tokio::test]
async fn second_start_goes_on_with_what_the_first_made() {
    let folder = folder();
    let first = Up::start(folder.path(), &["--demo"]);
    let password = first.password();
    let client = first.client(&password).await;
    let projects = client.get("/api/v1/projects").await.expect(200).json();
    first.stop();

    let second = Up::start(folder.path(), &["--demo"]);
    let client = second.client(&password).await;
    assert_eq!(
        client.get("/api/v1/projects").await.expect(200).json(),
        projects
    );
    let id = client.deploy("demo", "local").await;
    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let printed = second.stop();
    assert!(!printed.contains("password"), "{printed}");
    assert!(!printed.contains("Demo deployment"), "{printed}");
}

#[test]
fn folder_that_is_in_use_is_refused() {
    let folder = folder();
    let up = Up::start(folder.path(), &[]);
    let second = program(folder.path()).run();
    assert!(!second.status.success());
    let data = folder.path().join("data").canonicalize().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&second.stderr),
        format!(
            "slipway: another `slipway up` is using the data folder {}\n",
            data.display()
        )
    );
    up.stop();
}

#[test]
fn nobody_else_on_the_network_can_reach_it_by_default() {
    let folder = folder();
    let up = Up::start(folder.path(), &[]);
    let port: u16 = up.address.rsplit(':').next().unwrap().parse().unwrap();
    let listening: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listeners(table, port))
        .collect();
    // 127.0.0.1 as the kernel writes it.
    assert_eq!(listening, [format!("0100007F:{port:04X}")]);
    up.stop();
}

/// The addresses on which somebody listens at a port.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let text = fs::read_to_string(table).unwrap_or_default();
    let rows = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] == LISTEN && row[1].ends_with(&format!(":{port:04X}")))
        .map(|row| row[1].to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_live_stream_does_not_hold_up_the_end() {
    let folder = folder();
    let up = Up::start(folder.path(), &[]);
    let client = up.client(&up.password()).await;
    let data = folder.path().join("data");
    let wait = format!(
        "after:\n  - name: wait\n    run: while [ ! -e '{}' ]; do sleep 0.05; done\n",
        data.join("go-on").display()
    );
    client.create_project("shop", &wait).await;
    for target in ["first", "second"] {
        client
            .create_target("shop", target, &data.join(target))
            .await;
    }
    let id = client.deploy("shop", "first").await;
    client.until(id, "running").await;
    let mut events = client.events(id, 0).await;
    assert!(events.next().await.is_some());

    up.program.terminate();
    // The stream ends by the server's doing while the deployment still runs.
    while events.next().await.is_some() {}
    fs::write(data.join("go-on"), "").unwrap();
    let mut program = up.program;
    assert!(program.wait(DEADLINE).success(), "{}", program.logs());

    let again = Up::start(folder.path(), &[]);
    let printed = program.logs();
    let password = printed
        .split("with password ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let client = again.client(password.unwrap()).await;
    eventually(DEADLINE, async || {
        let seen = client.deployment(id).await;
        if seen["status"] == "succeeded" && seen["attempt"] == 1 {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    again.stop();
}
