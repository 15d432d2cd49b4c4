//! Every fail point that is listed is placed once, and every placed one is listed.

use std::collections::BTreeMap;

use crate::{
    source::Source,
    tree::{Tree, assert_none},
};

const LIST: &str = "crates/core/src/fail.rs";

fn findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    let mut placed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut listed = Vec::new();
    for file in tree.ending(".rs") {
        let source = match Source::parse(file) {
            Ok(source) => source,
            Err(error) => {
                findings.push(error);
                continue;
            }
        };
        if file.path == LIST {
            listed = names_listed(&source);
        }
        for (name, line) in names_placed(&source) {
            let places = placed.entry(name).or_default();
            places.push(format!("{}:{line}", file.path));
        }
    }
    for name in &listed {
        match placed.remove(name).as_deref() {
            None => findings.push(format!("{LIST}: {name} is placed nowhere")),
            Some([_]) => {}
            Some(places) => findings.push(format!("{name} is placed at {}", places.join(", "))),
        }
    }
    let strangers = placed
        .into_iter()
        .map(|(name, places)| format!("{}: {name} is not listed in {LIST}", places.join(", ")));
    findings.extend(strangers);
    findings
}

/// The texts of `POINTS = [..]`.
fn names_listed(source: &Source<'_>) -> Vec<String> {
    let tokens = source.tokens();
    let begins = tokens
        .windows(2)
        .position(|pair| matches!(pair, [a, b] if a.text == "=" && b.text == "["));
    let tokens = tokens.iter().skip(begins.map_or(usize::MAX, |at| at + 2));
    tokens
        .take_while(|token| token.text != "]")
        .filter_map(|token| Some(token.text.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
        .collect()
}

/// The texts of `fail::point("..")` outside the tests, with their lines.
fn names_placed(source: &Source<'_>) -> Vec<(String, usize)> {
    let tokens = source.tokens();
    let call = ["fail", ":", ":", "point", "("];
    let places = tokens.windows(call.len() + 1).filter_map(|window| {
        let (name, before) = window.split_last()?;
        let is_call = before
            .iter()
            .zip(call)
            .all(|(token, wanted)| token.text == wanted);
        (is_call && !source.is_test(name.line))
            .then(|| (name.text.trim_matches('"').to_owned(), name.line))
    });
    places.collect()
}

#[test]
fn every_fail_point_is_listed_and_placed_once() {
    assert_none(&findings(&Tree::repository()));
}

#[test]
fn forgotten_doubled_and_unlisted_points_are_found() {
    let tree = Tree::of(&[
        (
            LIST,
            "pub const POINTS: [&str; 3] = [\"a.once\", \"a.twice\", \"a.never\"];",
        ),
        (
            "crates/core/src/x.rs",
            "fn f() { fail::point(\"a.once\"); fail::point(\"a.twice\"); }\n\
             #[cfg(test)]\nmod tests { fn f() { fail::point(\"a.once\"); } }",
        ),
        (
            "crates/worker/src/y.rs",
            "fn f() {\nfail::point(\"a.twice\");\nfail::point(\"b.unknown\");\n}",
        ),
    ]);
    assert_eq!(
        findings(&tree),
        [
            "a.twice is placed at crates/core/src/x.rs:1, crates/worker/src/y.rs:2",
            "crates/core/src/fail.rs: a.never is placed nowhere",
            "crates/worker/src/y.rs:3: b.unknown is not listed in crates/core/src/fail.rs",
        ]
    );
}
