//! What files are called, where they lie, and what no file may hold.

use std::collections::BTreeSet;

use crate::tree::{Tree, assert_none};

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 9] = [
    "base", "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

/// What may lie at the top; files and folders with a leading dot may too.
const TOP: [&str; 12] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "config",
    "crates",
    "deploy",
    "docker-compose.yml",
    "justfile",
    "migration",
];

/// Folders of somebody's own machine. In two parts, so that this file does not hold them.
const MACHINE_FOLDERS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
];

const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
const LINE_CHARACTERS_MAX: usize = 500;

fn banned_names(tree: &Tree) -> Vec<String> {
    let banned = tree.ending(".rs").filter(|file| {
        let folder = (file.name() == "mod.rs")
            .then(|| file.folders().last())
            .flatten();
        BANNED_NAMES.contains(&folder.unwrap_or(file.name().trim_end_matches(".rs")))
    });
    banned
        .map(|file| format!("{}: the name says nothing", file.path))
        .collect()
}

fn top_entries(tree: &Tree) -> Vec<String> {
    let entries: BTreeSet<&str> = tree
        .files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .collect();
    let strangers = entries
        .into_iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(name));
    strangers
        .map(|name| format!("{name}: does not belong at the top"))
        .collect()
}

fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            let held = MACHINE_FOLDERS
                .iter()
                .filter(|folder| holds_path(line, folder));
            let place = format!("{}:{}", file.path, index + 1);
            findings.extend(held.map(|folder| format!("{place}: path below {folder}")));
        }
    }
    findings
}

/// Whether an absolute path below `folder` is in the line; `a/folder/b` is a relative one.
fn holds_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~*/}>".contains(c))
    })
}

fn foreign_sources(tree: &Tree) -> Vec<String> {
    let lock = tree.get("Cargo.lock").map_or("", |file| &file.text);
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    let foreign: BTreeSet<&str> = sources
        .map(|source| source.trim_matches('"'))
        .filter(|&s| s != PUBLIC_REGISTRY)
        .collect();
    foreign
        .into_iter()
        .map(|source| format!("Cargo.lock: comes from {source}"))
        .collect()
}

fn minified(tree: &Tree) -> Vec<String> {
    let files = tree.ending(".js").chain(tree.ending(".css"));
    let long = files.filter(|file| {
        file.text
            .lines()
            .any(|line| line.len() > LINE_CHARACTERS_MAX)
    });
    long.map(|file| format!("{}: minified", file.path))
        .collect()
}

#[test]
fn names_say_something() {
    assert_none(&banned_names(&Tree::repository()));
}

#[test]
fn top_stays_clean() {
    assert_none(&top_entries(&Tree::repository()));
}

#[test]
fn no_file_knows_somebodys_machine() {
    assert_none(&machine_paths(&Tree::repository()));
}

#[test]
fn packages_come_from_the_public_registry() {
    assert_none(&foreign_sources(&Tree::repository()));
}

#[test]
fn nothing_is_minified() {
    assert_none(&minified(&Tree::repository()));
}

#[test]
fn empty_name_is_found() {
    let tree = Tree::of(&[
        ("crates/core/src/utils.rs", ""),
        ("crates/core/src/common/mod.rs", ""),
        ("crates/core/src/vault/mod.rs", ""),
    ]);
    assert_eq!(banned_names(&tree).len(), 2);
}

#[test]
fn stranger_at_the_top_is_found() {
    let tree = Tree::of(&[
        ("notes.txt", ""),
        (".editorconfig", ""),
        ("crates/x.rs", ""),
    ]);
    assert_eq!(
        top_entries(&tree),
        ["notes.txt: does not belong at the top"]
    );
}

#[test]
fn machine_path_is_found_and_a_relative_one_is_not() {
    for folder in MACHINE_FOLDERS {
        let (absolute, relative) = (format!("cd {folder}me"), format!("cd target{folder}me"));
        let tree = Tree::of(&[("README.md", &absolute), ("deploy/x.sh", &relative)]);
        assert_eq!(
            machine_paths(&tree),
            [format!("README.md:1: path below {folder}")]
        );
    }
}

#[test]
fn package_from_elsewhere_is_found() {
    let lock = format!("source = \"{PUBLIC_REGISTRY}\"\nsource = \"git+https://example.com/x\"\n");
    let tree = Tree::of(&[("Cargo.lock", &lock)]);
    assert_eq!(
        foreign_sources(&tree),
        ["Cargo.lock: comes from git+https://example.com/x"]
    );
}

#[test]
fn minified_script_is_found() {
    let long = "x".repeat(501);
    let tree = Tree::of(&[("crates/api/static/a.js", &long), ("README.md", &long)]);
    assert_eq!(minified(&tree), ["crates/api/static/a.js: minified"]);
}
