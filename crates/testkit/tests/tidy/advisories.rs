//! No locked package has a known advisory that nobody has looked at.
//!
//! The list is ours and works offline; what it cannot know is said at its top.

use std::{fs, str::FromStr};

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::tree::{assert_none, root};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    advisory: Vec<Advisory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    id: String,
    package: String,
    /// Ranges without the fault; every other version has it.
    clean: Vec<String>,
    what: String,
    /// Why a version with the fault may be used all the same.
    accepted: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

impl Advisory {
    fn affects(&self, locked: &Locked) -> Result<bool, semver::Error> {
        if self.package != locked.name {
            return Ok(false);
        }
        let version = Version::parse(&locked.version)?;
        let clean: Result<Vec<VersionReq>, _> = self
            .clean
            .iter()
            .map(|range| VersionReq::from_str(range))
            .collect();
        Ok(!clean?.iter().any(|range| range.matches(&version)))
    }
}

fn findings(list: &str, lock: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let list: List = toml::from_str(list)?;
    let lock: Lock = toml::from_str(lock)?;
    let mut findings = Vec::new();
    for advisory in &list.advisory {
        let mut affected = Vec::new();
        for locked in &lock.package {
            if advisory.affects(locked)? {
                affected.push(format!("{} {}", locked.name, locked.version));
            }
        }
        let Advisory {
            id, what, accepted, ..
        } = advisory;
        match (affected.is_empty(), accepted) {
            (false, None) => findings.push(format!("{id}: {}: {what}", affected.join(", "))),
            (true, Some(_)) => {
                findings.push(format!("{id}: accepted, but nothing has it any more"));
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    Ok(findings)
}

#[test]
fn no_locked_package_has_an_unseen_advisory() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let found = findings(&read(".config/advisories.toml"), &read("Cargo.lock")).unwrap();
    assert_none(&found);
}

fn list(clean: &str, accepted: &str) -> String {
    format!(
        "[[advisory]]\nid = \"X-1\"\npackage = \"p\"\nclean = {clean}\nwhat = \"w.\"\n{accepted}"
    )
}

fn lock(version: &str) -> String {
    format!("[[package]]\nname = \"p\"\nversion = \"{version}\"\n")
}

#[test]
fn version_outside_every_clean_range_is_found() {
    let list = list(r#"["<0.7.0", ">=0.8.6, <0.9.0", ">=0.10.1"]"#, "");
    for (version, clean) in [
        ("0.6.9", true),
        ("0.7.0", false),
        ("0.8.5", false),
        ("0.8.8", true),
        ("0.9.9", false),
        ("0.10.0", false),
        ("0.10.4", true),
        // Whether a pre-release already has the fix cannot be told from its number.
        ("0.11.0-rc.1", false),
    ] {
        let found = findings(&list, &lock(version)).unwrap();
        assert_eq!(found.is_empty(), clean, "{version}: {found:?}");
    }
}

#[test]
fn accepted_advisory_is_quiet_until_it_is_stale() {
    let list = list(
        r#"[">=2.0.0"]"#,
        "accepted = \"Only verified data reaches it.\"",
    );
    assert_none(&findings(&list, &lock("1.0.0")).unwrap());
    let stale = findings(&list, &lock("2.0.0")).unwrap();
    assert_eq!(stale, ["X-1: accepted, but nothing has it any more"]);
}

#[test]
fn mistyped_list_is_refused() {
    assert!(findings(&list("[\">=one\"]", ""), &lock("1.0.0")).is_err());
    assert!(findings(&list("[]", "acepted = \"no\""), &lock("1.0.0")).is_err());
}
