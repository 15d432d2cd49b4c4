//! A hardened worker keeps what it knows from its own steps, which run as the same user.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use slipway_core::{settings::load::environment, start};
use slipway_testkit::Program;
use slipway_worker::exec::{self, Captured, Command, Limits, Scope};

const SECRET: &str = "the-master-key-of-this-test";
const HARDENED: &str = "TEST_HARDENED";

#[tokio::test]
#[ignore = "the test below starts it as a process of its own"]
async fn worker_whose_step_reads_its_environment() {
    if environment().contains_key(HARDENED) {
        start::harden().unwrap();
    }
    let script = format!(
        "cat /proc/{0}/environ /proc/{0}/mem; ls /proc/self/fd",
        std::process::id()
    );
    let command = Command::new("/bin/sh")
        .args(["-c", &script])
        .env("PATH", "/usr/bin:/bin");
    let mut output = Captured::new(1024 * 1024);
    let limits = Limits::new(Duration::from_secs(30));
    exec::run(&command, &limits, &Scope::default(), &mut output).await;
    println!("{}", output.text());
}

/// What the step of such a worker prints. Root may read everything, so it is another account's.
fn printed(folder: &Path, hardened: bool) -> String {
    let worker = folder.join("worker");
    let test = [
        "hardening::worker_whose_step_reads_its_environment",
        "--exact",
        "--ignored",
        "--nocapture",
    ];
    // Whoever starts it has left something open.
    let inherited = Program::new("sh").args(["-c", "exec \"$@\" 7</dev/null 9</dev/null", "sh"]);
    let mut program = if rustix::process::geteuid().is_root() {
        inherited
            .args([
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ])
            .args([&worker])
    } else {
        inherited.args([&worker])
    };
    if hardened {
        program = program.env(HARDENED, "yes");
    }
    let output = program
        .args(test)
        .env("TEST_SECRET", SECRET)
        .folder("/")
        .run();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn step_cannot_read_the_environment_of_a_hardened_worker() {
    // The build's own folder may be closed to the other account.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let test = std::env::current_exe().unwrap();
    fs::copy(test, folder.path().join("worker")).unwrap();

    assert!(printed(folder.path(), false).contains(SECRET));
    let refused = printed(folder.path(), true);
    assert!(!refused.contains(SECRET), "{refused}");
    assert!(refused.contains("environ: Permission denied"), "{refused}");
}

#[test]
fn step_of_a_hardened_worker_inherits_no_open_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::copy(
        std::env::current_exe().unwrap(),
        folder.path().join("worker"),
    )
    .unwrap();
    let open = |hardened| -> Vec<i32> {
        let printed = printed(folder.path(), hardened);
        let numbers = printed.lines().filter_map(|line| line.parse().ok());
        numbers.collect()
    };
    assert!(open(false).contains(&9));
    // The last one is the folder that it lists.
    assert_eq!(open(true), [0, 1, 2, 3]);
}
