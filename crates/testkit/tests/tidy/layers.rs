//! Which crate may know what: the dependency rule of the architecture.

use toml::{Table, Value};

use crate::{
    manifests::{dependencies, manifests},
    source::Source,
    tree::{Tree, assert_none},
};

/// Packages that core's manifest may not name, by prefix.
const BANNED_IN_CORE: [&str; 4] = ["actix", "fred", "reqwest", "lettre"];

/// Which of our crates each of them may name among its normal dependencies.
const BELOW: [(&str, &[&str]); 9] = [
    ("migration", &[]),
    ("crates/redact", &[]),
    ("crates/core", &["migration", "redact"]),
    ("crates/queue", &["core"]),
    ("crates/notify", &["core", "redact"]),
    ("crates/api", &["core", "queue", "notify"]),
    ("crates/worker", &["core", "queue", "notify", "redact"]),
    (
        "crates/cli",
        &["api", "core", "migration", "notify", "queue", "worker"],
    ),
    ("crates/testkit", &[]),
];

/// Token patterns with the only folders that may hold them, and why.
const PLACES: [(&[&str], &[&str], &str); 4] = [
    (
        &["fred", ":", ":"],
        &["crates/queue/"],
        "only the queue crate speaks Redis",
    ),
    (
        &["StatusCode"],
        &["crates/api/"],
        "only the API knows HTTP status codes",
    ),
    (
        &["process", ":", ":", "Command"],
        &["crates/worker/", "crates/cli/", "crates/testkit/"],
        "only worker and command line start processes",
    ),
    (
        &[".", "route", "("],
        &["crates/api/src/pages/table.rs", "crates/api/src/server.rs"],
        "a route that is not listed is not in the matrix of rights",
    ),
];

fn manifest_findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, manifest) in manifests(tree) {
        for (name, _) in dependencies(&manifest) {
            let banned = BANNED_IN_CORE.iter().any(|prefix| name.starts_with(prefix));
            if path == "crates/core/Cargo.toml" && banned {
                findings.push(format!("{path}: core must not know {name}"));
            } else if name == "fred" && path != "crates/queue/Cargo.toml" {
                findings.push(format!("{path}: only the queue crate depends on fred"));
            }
        }
    }
    findings
}

fn order_findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, manifest) in manifests(tree) {
        let folder = path.trim_end_matches("/Cargo.toml");
        let Some((_, below)) = BELOW.iter().find(|(name, _)| *name == folder) else {
            findings.push(format!("{path}: has no place in the dependency rule"));
            continue;
        };
        let named = manifest.get("dependencies").and_then(Value::as_table);
        let named = named.into_iter().flat_map(Table::keys);
        let ours = named.filter_map(|name| name.strip_prefix("slipway-"));
        let wrong = ours.filter(|name| !below.contains(name));
        findings.extend(wrong.map(|name| format!("{path}: must not depend on slipway-{name}")));
    }
    findings
}

fn source_findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.ending(".rs") {
        let source = match Source::parse(file) {
            Ok(source) => source,
            Err(error) => {
                findings.push(error);
                continue;
            }
        };
        for (pattern, folders, why) in PLACES {
            if folders.iter().any(|folder| file.path.starts_with(folder)) {
                continue;
            }
            let lines = source.product_lines_with(pattern).into_iter();
            findings.extend(lines.map(|line| format!("{}:{line}: {why}", file.path)));
        }
    }
    findings
}

#[test]
fn manifests_keep_to_the_dependency_rule() {
    assert_none(&manifest_findings(&Tree::repository()));
    assert_none(&order_findings(&Tree::repository()));
}

#[test]
fn sources_keep_to_the_dependency_rule() {
    assert_none(&source_findings(&Tree::repository()));
}

#[test]
fn core_that_names_a_web_framework_is_found() {
    let manifest = "[dependencies]\nactix-web.workspace = true\n[dev-dependencies]\nfred = \"1\"\n";
    let found = manifest_findings(&Tree::of(&[("crates/core/Cargo.toml", manifest)]));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn dependency_that_goes_the_wrong_way_is_found() {
    let manifest = "[dependencies]\nslipway-queue.workspace = true\n\
                    [dev-dependencies]\nslipway-api.workspace = true\n";
    let tree = Tree::of(&[
        ("crates/notify/Cargo.toml", manifest),
        ("crates/new/Cargo.toml", manifest),
        ("crates/worker/Cargo.toml", manifest),
    ]);
    assert_eq!(
        order_findings(&tree),
        [
            "crates/notify/Cargo.toml: must not depend on slipway-queue",
            "crates/new/Cargo.toml: has no place in the dependency rule",
        ]
    );
}

#[test]
fn second_user_of_the_redis_client_is_found() {
    let manifest = "[target.'cfg(unix)'.dependencies]\nfred.workspace = true\n";
    let found = manifest_findings(&Tree::of(&[("crates/api/Cargo.toml", manifest)]));
    assert_eq!(
        found,
        ["crates/api/Cargo.toml: only the queue crate depends on fred"]
    );
}

#[test]
fn knowledge_in_the_wrong_crate_is_found() {
    let text =
        "use fred::prelude::Client;\nfn f() -> StatusCode { std::process::Command::new() }\n";
    let tree = Tree::of(&[
        ("crates/core/src/x.rs", text),
        ("crates/queue/src/x.rs", text),
    ]);
    assert_eq!(
        source_findings(&tree),
        [
            "crates/core/src/x.rs:1: only the queue crate speaks Redis",
            "crates/core/src/x.rs:2: only the API knows HTTP status codes",
            "crates/core/src/x.rs:2: only worker and command line start processes",
            "crates/queue/src/x.rs:2: only the API knows HTTP status codes",
            "crates/queue/src/x.rs:2: only worker and command line start processes",
        ]
    );
}
