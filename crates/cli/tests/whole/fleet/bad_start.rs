//! A process that is set up wrongly does not start, and says which setting it is and what to run.

use std::{fs, path::Path};

use slipway_testkit::Program;

use crate::rig::{Installation, Redis};

const DAEMONS: [&str; 2] = ["slipway-api", "slipway-worker"];
const GENERATE: &str = "`slipway keys generate`";

/// Starts a program that has to refuse, and checks that it says all of this.
#[track_caller]
fn assert_refused(program: Program, expected: &[&str]) {
    let output = program.run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for text in expected {
        assert!(said.contains(text), "expected {text:?} in:\n{said}");
    }
}

#[test]
fn key_that_is_no_good_one_is_named_with_the_command_that_makes_one() {
    let mut installation = Installation::migrated(&Redis::shared());
    let pattern = "0123456789abcdef".repeat(4);
    // The SHA-256 of `password`.
    let sample = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    let keys = [
        (
            None,
            "the environment variable ENCRYPTION_KEY, which is not set",
        ),
        (Some(""), "is missing"),
        (Some("5f8d2ab1c37e9044"), "has 16 characters instead of 64"),
        (Some("not-a-key"), "hexadecimal"),
        (Some(pattern.as_str()), "repeats itself"),
        (Some(sample), "is a sample"),
    ];
    for (key, complaint) in keys {
        installation = match key {
            Some(key) => installation.set("ENCRYPTION_KEY", key),
            None => installation.without("ENCRYPTION_KEY"),
        };
        for daemon in DAEMONS {
            let expected = ["security.encryption_key", GENERATE, complaint];
            assert_refused(installation.program(daemon), &expected);
        }
    }
}

#[test]
fn key_of_another_installation_is_refused() {
    let installation = Installation::migrated(&Redis::shared());
    installation.start_api();
    let other = Installation::new(&Redis::shared());
    let wrong = installation.set("ENCRYPTION_KEY", other.variable("ENCRYPTION_KEY"));
    for daemon in DAEMONS {
        let expected = ["security.encryption_key", "`slipway keys add`"];
        assert_refused(wrong.program(daemon), &expected);
    }
    // The command that shows what is wrong works nevertheless.
    let output = wrong.program("slipway").args(["keys", "status"]).run();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("no: another key has this version"), "{said}");
}

#[test]
fn key_that_is_missing_is_named_with_what_to_do() {
    let installation = Installation::migrated(&Redis::shared());
    // The audit trail has a key of its own, which is encrypted from the first start on.
    let slipway = |arguments: &[&str]| installation.program("slipway").args(arguments).run();
    assert!(
        slipway(&["user", "create", "ann@example.com"])
            .status
            .success()
    );
    let first = installation.variable("ENCRYPTION_KEY").to_owned();
    let installation = installation
        .set(
            "ENCRYPTION_KEY",
            Installation::new(&Redis::shared()).variable("ENCRYPTION_KEY"),
        )
        .set("SLIPWAY__SECURITY__ENCRYPTION_KEY_VERSION", "2");
    for daemon in DAEMONS {
        let expected = [
            "master key version 1 is the active one and is not loaded here",
            "SLIPWAY__SECURITY__RETIRED_KEYS__1",
            "`slipway keys status`",
        ];
        assert_refused(installation.program(daemon), &expected);
    }
    let installation = installation.set("SLIPWAY__SECURITY__RETIRED_KEYS__1", first);
    let activate = installation
        .program("slipway")
        .args(["keys", "activate", "2"]);
    assert!(activate.run().status.success());
    let installation = installation.without("SLIPWAY__SECURITY__RETIRED_KEYS__1");
    for daemon in DAEMONS {
        let expected = [
            "encrypted under master key version 1",
            "`slipway keys rewrap`",
        ];
        assert_refused(installation.program(daemon), &expected);
    }
}

#[test]
fn bad_key_file_is_named_in_every_way_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    crate::up_demo::started_and_stopped(folder.path());
    let file = data.join("keys/encryption.key");
    let good = fs::read_to_string(&file).unwrap();
    let other = good.chars().rev().collect::<String>();
    let bad = [
        ("", "is missing"),
        (&good[..40], "has 40 characters instead of 64"),
        (&"ab".repeat(32), "repeats itself"),
        (&other, "is not the one that this database was encrypted"),
    ];
    for (text, complaint) in bad {
        fs::write(&file, text).unwrap();
        for arguments in [
            ["up", "--port=0"].as_slice(),
            &["user", "create", "ann@example.com"],
            &["keys", "rewrap"],
        ] {
            let program = Program::workspace("slipway")
                .args(arguments)
                .args(["--data".as_ref(), data.as_os_str()])
                .folder(folder.path());
            assert_refused(program, &["`slipway keys ", complaint]);
        }
    }
}

#[test]
fn password_file_that_cannot_be_read_is_named_with_its_setting() {
    let installation = Installation::new(&Redis::shared())
        .set("DB_PASSWORD", "")
        .set("SLIPWAY__DATABASE__PASSWORD_FILE", "/nowhere/password");
    for daemon in DAEMONS {
        let expected = ["cannot read /nowhere/password", "database.password_file"];
        assert_refused(installation.program(daemon), &expected);
    }
}

#[test]
fn what_stops_a_process_is_said_without_secrets_and_line_by_line() {
    let secret = "hunter2-hunter2\n2026-01-01T00:00:00Z  INFO forged: record";
    let installation = Installation::migrated(&Redis::shared())
        .set("SLIPWAY__DATABASE__HOST", format!("{secret}\u{1b}[2J"))
        .set("SOME_PASSWORD", secret);
    let daemons = DAEMONS.map(|daemon| installation.program(daemon));
    let tool = installation.program("slipway").args(["migrate"]);
    for program in daemons.into_iter().chain([tool]) {
        let output = program.run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
        assert!(
            !said.lines().any(|line| line.starts_with("2026-01-01")),
            "{said}"
        );
    }
}

#[test]
fn daemon_without_redis_says_what_runs_without_it() {
    let installation = Installation::new(&Redis::shared());
    for daemon in DAEMONS {
        let program = with_file(&installation, daemon, "database: { path: slipway.db }\n");
        assert_refused(program, &["`redis`", daemon, "`slipway up`"]);
    }
}

#[test]
fn unknown_key_in_a_file_is_told_with_its_place_and_the_nearest_right_one() {
    let installation = Installation::new(&Redis::shared());
    for name in ["slipway-api", "slipway-worker"] {
        let program = with_file(&installation, name, "queue:\n  max_concurency: 3\n");
        assert_refused(program, &["queue.max_concurency", "max_concurrency"]);
    }
}

/// A program with a configuration file of its own instead of the production one.
fn with_file(installation: &Installation, program: &str, text: &str) -> Program {
    let file = installation.path("slipway.yaml");
    fs::write(&file, text).unwrap();
    let plain = Program::workspace(program).folder(installation.folder());
    plain.args([Path::new("--config"), &file])
}

#[test]
fn database_of_another_version_is_refused_with_what_to_do() {
    let installation = Installation::new(&Redis::shared());
    for daemon in DAEMONS {
        assert_refused(
            installation.program(daemon),
            &["lacks", "run `slipway migrate`"],
        );
    }
    let status = || {
        installation
            .program("slipway")
            .args(["migrate", "--status"])
    };
    assert_refused(status(), &["run `slipway migrate`"]);
    installation.migrate();
    let output = status().run();
    assert!(output.status.success(), "{output:?}");

    let newer =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_future', 0)";
    let output = installation.sql(newer);
    assert!(output.status.success(), "{output:?}");
    for daemon in DAEMONS {
        let expected = ["newer Slipway", "m99991231_000001_future"];
        assert_refused(installation.program(daemon), &expected);
    }
    let migrate = installation.program("slipway").args(["migrate"]);
    assert_refused(migrate, &["newer Slipway"]);
}
