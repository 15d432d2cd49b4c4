//! Every version is written once, in the workspace's manifest.

use toml::{Table, Value};

use crate::tree::{Tree, assert_none};

/// Every package's manifest with its path; the workspace's own is not one.
pub(crate) fn manifests(tree: &Tree) -> Vec<(String, Table)> {
    let members = tree.ending("/Cargo.toml");
    members
        .map(|file| {
            let table = file
                .text
                .parse()
                .unwrap_or_else(|error| panic!("{}: {error}", file.path));
            (file.path.clone(), table)
        })
        .collect()
}

/// Every dependency of a package: normal, development and build, for every platform.
pub(crate) fn dependencies(manifest: &Table) -> Vec<(String, Value)> {
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    std::iter::once(manifest)
        .chain(platforms)
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flat_map(|list| {
            list.iter()
                .map(|(name, value)| (name.clone(), value.clone()))
        })
        .collect()
}

fn findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, manifest) in manifests(tree) {
        let of_workspace = |value: &Value| value.get("workspace").and_then(Value::as_bool);
        let own = dependencies(&manifest)
            .into_iter()
            .filter(|(_, value)| of_workspace(value) != Some(true));
        findings.extend(own.map(|(name, _)| format!("{path}: {name} is not `workspace = true`")));
        let lints = manifest.get("lints").and_then(of_workspace);
        if lints != Some(true) {
            findings.push(format!("{path}: the workspace's lints are not taken over"));
        }
    }
    findings
}

#[test]
fn versions_and_lints_come_from_the_workspace() {
    assert_none(&findings(&Tree::repository()));
}

#[test]
fn version_of_ones_own_is_found() {
    let manifest = "[dependencies]\nserde = \"1\"\nurl.workspace = true\n\
                    [build-dependencies]\ncc = { version = \"1\" }\n";
    let found = findings(&Tree::of(&[("crates/api/Cargo.toml", manifest)]));
    assert_eq!(
        found,
        [
            "crates/api/Cargo.toml: serde is not `workspace = true`",
            "crates/api/Cargo.toml: cc is not `workspace = true`",
            "crates/api/Cargo.toml: the workspace's lints are not taken over",
        ]
    );
}
