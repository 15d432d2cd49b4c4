//! What cargo says about the packages that are really built, and which of them must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde::Deserialize;

use crate::tree::{assert_none, root};

/// The part of `cargo metadata` that the rules read.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: BTreeSet<String>,
    pub(crate) resolve: Resolve,
}

/// A package in some version.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
}

/// Who needs whom.
#[derive(Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// One package's needs.
#[derive(Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Need>,
}

/// A need and what it is for.
#[derive(Deserialize)]
pub(crate) struct Need {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<Kind>,
}

/// `None` is a normal need, `dev` one of tests only.
#[derive(Deserialize)]
pub(crate) struct Kind {
    pub(crate) kind: Option<String>,
}

/// The packages for this platform, straight from the lock file.
pub(crate) fn metadata() -> Metadata {
    // Packages of other platforms are not on the disk, so cargo could not answer for them offline.
    let offline = ask(&["--offline"]);
    let answer = offline
        .or_else(|_| ask(&[]))
        .unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("cargo metadata: {error}"))
}

fn ask(extra: &[&str]) -> Result<String, String> {
    let cargo = slipway_testkit::variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", host().as_str()])
        .args(extra)
        .current_dir(root())
        .output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn host() -> String {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map(|output| output.stdout);
    let output = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap_or_else(|| panic!("rustc does not say for which platform it builds"))
        .to_owned()
}

/// Foreign cryptography, by prefix: the whole tree uses ring through rustls.
const BANNED: [&str; 4] = ["aws-lc", "openssl-sys", "openssl-src", "native-tls"];

/// Banned packages that the binaries, or the building of them, need.
fn banned(metadata: &Metadata) -> Vec<String> {
    let names: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let needs: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = metadata
        .workspace_members
        .iter()
        .map(String::as_str)
        .collect();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let deps = needs
                .get(id)
                .map(|node| node.deps.as_slice())
                .unwrap_or_default();
            let built = |need: &&Need| {
                need.dep_kinds
                    .iter()
                    .any(|k| k.kind.as_deref() != Some("dev"))
            };
            open.extend(deps.iter().filter(built).map(|need| need.pkg.as_str()));
        }
    }
    let reached = reached.iter().filter_map(|id| names.get(id));
    let found = reached.filter(|package| BANNED.iter().any(|name| package.name.starts_with(name)));
    found
        .map(|package| format!("{} {} is built", package.name, package.version))
        .collect()
}

#[test]
fn no_foreign_cryptography_is_built() {
    assert_none(&banned(&metadata()));
}

#[test]
fn banned_package_is_found_through_its_users_but_not_through_tests() {
    let text = r#"{
        "packages": [
            {"id": "us", "name": "slipway-api", "version": "0.1.0", "license": "MIT"},
            {"id": "a", "name": "reqwest", "version": "1.0.0", "license": "MIT"},
            {"id": "b", "name": "aws-lc-rs", "version": "1.2.3", "license": "ISC"},
            {"id": "c", "name": "native-tls", "version": "0.2.0", "license": "MIT"}
        ],
        "workspace_members": ["us"],
        "resolve": {"nodes": [
            {"id": "us", "deps": [
                {"pkg": "a", "dep_kinds": [{"kind": null}]},
                {"pkg": "c", "dep_kinds": [{"kind": "dev"}]}
            ]},
            {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": "build"}]}]},
            {"id": "b", "deps": []},
            {"id": "c", "deps": []}
        ]}
    }"#;
    let metadata: Metadata = serde_json::from_str(text).unwrap();
    assert_eq!(banned(&metadata), ["aws-lc-rs 1.2.3 is built"]);
}
