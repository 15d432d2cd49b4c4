//! Every package may be used, changed and passed on without asking its own authors' terms of us.

use crate::{dependencies::metadata, tree::assert_none};

/// Permissive licences, and the one that binds only its own files (MPL).
const ACCEPTED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Also accepted: a dedication to the public domain that is older than the list of identifiers.
const PUBLIC_DOMAIN: &str = "Unlicense";

/// Whether the accepted licences are enough to satisfy an SPDX expression.
fn is_satisfied(expression: &str) -> Result<bool, String> {
    // Some manifests still write `/` where the standard says OR.
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let satisfied = any(&mut rest)?;
    if rest.is_empty() {
        Ok(satisfied)
    } else {
        Err(format!("cannot read `{expression}`"))
    }
}

fn any(words: &mut &[&str]) -> Result<bool, String> {
    let mut satisfied = all(words)?;
    while let [first, rest @ ..] = *words
        && *first == "OR"
    {
        *words = rest;
        satisfied |= all(words)?;
    }
    Ok(satisfied)
}

fn all(words: &mut &[&str]) -> Result<bool, String> {
    let mut satisfied = one(words)?;
    while let [first, rest @ ..] = *words
        && *first == "AND"
    {
        *words = rest;
        satisfied &= one(words)?;
    }
    Ok(satisfied)
}

fn one(words: &mut &[&str]) -> Result<bool, String> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let satisfied = any(words)?;
            let [")", rest @ ..] = *words else {
                return Err("a bracket stays open".to_owned());
            };
            *words = rest;
            Ok(satisfied)
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            Ok(ACCEPTED.contains(&format!("{name} WITH {exception}").as_str()))
        }
        [name, rest @ ..] => {
            *words = rest;
            Ok(ACCEPTED.contains(name) || *name == PUBLIC_DOMAIN)
        }
        [] => Err("a licence is missing".to_owned()),
    }
}

#[test]
fn every_package_is_permissively_licensed() {
    let findings: Vec<String> = metadata()
        .packages
        .iter()
        .filter_map(|package| {
            let licence = package.license.as_deref().unwrap_or("no licence at all");
            let why = match is_satisfied(licence) {
                Ok(true) => return None,
                Ok(false) => "is not accepted".to_owned(),
                Err(error) => error,
            };
            Some(format!(
                "{} {}: {licence}: {why}",
                package.name, package.version
            ))
        })
        .collect();
    assert_none(&findings);
}

#[test]
fn expressions_are_read_as_the_standard_says() {
    let accepted = [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-or-later OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        "MIT OR GPL-3.0-only AND LGPL-3.0-only",
    ];
    let refused = [
        "GPL-3.0-or-later",
        "MIT AND GPL-3.0-only",
        "(MIT OR ISC) AND (AGPL-3.0-only OR SSPL-1.0)",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "OpenSSL",
    ];
    for expression in accepted {
        assert_eq!(is_satisfied(expression), Ok(true), "{expression}");
    }
    for expression in refused {
        assert_eq!(is_satisfied(expression), Ok(false), "{expression}");
    }
    for expression in ["", "MIT AND", "(MIT", "MIT ISC", "no licence at all"] {
        assert!(is_satisfied(expression).is_err(), "{expression}");
    }
}
