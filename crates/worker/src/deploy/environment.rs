//! What a step finds in its environment: pure.

use std::{collections::BTreeMap, path::Path};

use secrecy::SecretString;
use slipway_core::{deployment::run::Assignment, pipeline::Step};

use super::source::Source;
use crate::exec::Command;

/// What steps may inherit from the worker, so that they find programs and their account's folders.
/// Everything else of the worker's environment stays with the worker.
pub const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE",
];
/// Where programs are found when the worker itself was started without a path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command of a step: its script under `sh -eu`, its values only in the environment.
pub(super) fn command(
    step: &Step,
    assignment: &Assignment,
    base: &BTreeMap<String, String>,
    source: Option<&Source>,
    release: Option<&Path>,
) -> Command {
    let mut command = Command::new("/bin/sh")
        .args(["-eu", "-c", step.run.as_str()])
        .env("PATH", PATH);
    let pipeline = &assignment.pipeline;
    let plain = base
        .iter()
        .chain(&pipeline.env)
        .chain(&assignment.variables)
        .map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in plain {
        command = command.env(name, value);
    }
    for (name, value) in &assignment.secrets {
        let wanted = step
            .secrets
            .as_ref()
            .is_none_or(|names| names.contains(name));
        // What was stored is text: values are checked when they are written.
        if let (true, Ok(text)) = (wanted, std::str::from_utf8(value.expose())) {
            command = command.secret(name, SecretString::from(text));
        }
    }
    for (name, value) in &step.env {
        command = command.env(name, value);
    }
    for (name, value) in own(assignment, source, release) {
        command = command.env(name, value);
    }
    command
}

/// The names that Slipway itself fills; nobody else may.
fn own(
    assignment: &Assignment,
    source: Option<&Source>,
    release: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let row = &assignment.row;
    let mut own = vec![
        ("SLIPWAY_PROJECT", assignment.project.slug.clone()),
        ("SLIPWAY_TARGET", assignment.target.slug.clone()),
        ("SLIPWAY_DEPLOYMENT", row.id.to_string()),
        ("SLIPWAY_FENCE", row.fence.to_string()),
        ("SLIPWAY_REF", row.ref_name.clone().unwrap_or_default()),
    ];
    let branch = source.and_then(|source| source.branch.clone());
    own.push(("SLIPWAY_BRANCH", branch.unwrap_or_default()));
    let commit = source.map(|source| source.commit.clone());
    own.push(("SLIPWAY_COMMIT", commit.unwrap_or_default()));
    let release = release.map(|path| path.display().to_string());
    own.push(("SLIPWAY_RELEASE", release.unwrap_or_default()));
    own
}
