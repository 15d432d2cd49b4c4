//! `slipway keys` beside a `slipway up` that keeps running.

use std::{fs, path::Path};

use serde_json::{Value, json};
use slipway_testkit::{Program, eventually};

use crate::{rig::DEADLINE, up_demo::Up};

/// Prints whether the step got the value that it should.
const PIPELINE: &str =
    "after:\n  - name: compare\n    run: test \"$TOKEN\" = \"$EXPECTED\"\n    secrets: [TOKEN]\n";

/// Whether it worked, and what it printed.
fn keys(data: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Program::workspace("slipway")
        .args(["keys"])
        .args(arguments)
        .args(["--data".as_ref(), data.as_os_str()])
        .folder(data)
        .run();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[track_caller]
fn done(data: &Path, arguments: &[&str]) -> String {
    let (done, said) = keys(data, arguments);
    assert!(done, "{arguments:?}: {said}");
    said
}

fn status(data: &Path) -> Value {
    serde_json::from_str(&done(data, &["status", "--json"])).unwrap()
}

#[tokio::test]
async fn master_key_is_changed_while_everything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = &folder.path().join("data");
    let up = Up::start(folder.path(), &[]);
    let password = up.password();
    let client = up.client(&password).await;
    client.create_project("shop", PIPELINE).await;
    client
        .create_target("shop", "web", &folder.path().join("web"))
        .await;
    let set = async |kind: &str, name: &str, value: &str| {
        let path = format!("/api/v1/projects/shop/{kind}/{name}");
        client
            .put(&path, &json!({ "value": value }))
            .await
            .expect(204);
    };
    set("secrets", "TOKEN", "the first value").await;
    set("variables", "EXPECTED", "the first value").await;

    let said = done(data, &["add"]);
    let file = data.canonicalize().unwrap().join("keys/encryption_key_2");
    assert!(said.contains(&file.display().to_string()), "{said}");
    assert!(
        !said.contains(fs::read_to_string(&file).unwrap().trim()),
        "{said}"
    );
    // Either the process has noticed, or it is named as the one that has not.
    let (_, said) = keys(data, &["activate", "3"]);
    assert!(said.contains("there is no key version 3"), "{said}");
    eventually(DEADLINE, async || {
        let status = status(data);
        let has = status["processes"][0]["keys"] == json!([1, 2]);
        if has { Ok(()) } else { Err(status) }
    })
    .await;
    done(data, &["activate", "2"]);
    assert!(!keys(data, &["retire", "1"]).0);

    let said = done(data, &["rewrap", "--dry-run"]);
    assert!(
        said.starts_with("2 value(s) could be moved to key version 2"),
        "{said}"
    );
    let said = done(data, &["rewrap"]);
    assert_eq!(said, "2 value(s) moved to key version 2.\n");
    let said = done(data, &["retire", "1"]);
    assert!(said.contains("Backups"), "{said}");
    let id = client.deploy("shop", "web").await;
    assert_eq!(client.ended(id).await["status"], "succeeded");
    set("secrets", "TOKEN", "the second value").await;
    set("variables", "EXPECTED", "the second value").await;
    up.stop();

    // Nothing needs the first key any more.
    fs::remove_file(data.join("keys/encryption.key")).unwrap();
    let up = Up::start(folder.path(), &[]);
    let client = up.client(&password).await;
    let id = client.deploy("shop", "web").await;
    assert_eq!(client.ended(id).await["status"], "succeeded");
    assert!(!data.join("keys/encryption.key").exists());
    let keys = &status(data)["keys"];
    assert_eq!(keys[0]["state"], "retired");
    assert_eq!(
        (&keys[1]["state"], &keys[1]["loaded"]),
        (&json!("active"), &json!("yes"))
    );
    let entries = client.get("/api/v1/audit").await.expect(200).text;
    for action in ["key.add", "key.activate", "key.rewrap", "key.retire"] {
        assert!(entries.contains(action), "{entries}");
    }
    up.stop();
}

#[test]
fn key_without_a_folder_is_printed_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let output = Program::workspace("slipway")
        .args(["keys", "generate"])
        .run();
    let key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let file = folder.path().join("slipway.db");
    let slipway = |arguments: &[&str]| {
        Program::workspace("slipway")
            .args(arguments)
            .env("SLIPWAY__DATABASE__PATH", &file)
            .env("SLIPWAY__SECURITY__ENCRYPTION_KEY", &key)
            .env("SLIPWAY__SECURITY__SESSION_SECRET", &key)
            .folder(folder.path())
            .run()
    };
    assert!(slipway(&["migrate"]).status.success());
    let output = slipway(&["keys", "add"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("SLIPWAY__SECURITY__RETIRED_KEYS__2="));
    assert_eq!(line.unwrap().len(), 64, "{said}");
}
