//! Tests wait for conditions, never for time to pass.
//!
//! A fault that consists of a delay may sleep where a comment beside it says `pause: why`.

use crate::{
    source::Source,
    tree::{Tree, assert_none},
};

const WAITING_PLACE: &str = "crates/testkit/src/poll.rs";
const MARKER: &str = "// pause: ";

fn findings(tree: &Tree) -> Vec<String> {
    let files = tree.ending(".rs").filter(|file| file.path != WAITING_PLACE);
    files
        .flat_map(|file| Source::parse(file).map_or_else(|e| vec![e], |s| of(&s)))
        .collect()
}

fn of(source: &Source<'_>) -> Vec<String> {
    let lines: Vec<&str> = source.file.text.lines().collect();
    let marked = |line: usize| {
        let near = lines.iter().skip(line.saturating_sub(2)).take(2);
        near.copied().any(|text| text.contains(MARKER))
    };
    let dev_only = source.file.path.starts_with("crates/testkit/");
    let tokens = source.tokens();
    let calls = tokens.windows(2).filter_map(|pair| match pair {
        [name, open] if name.text == "sleep" && open.text == "(" => Some(name.line),
        _ => None,
    });
    calls
        .filter(|&line| (source.is_test(line) || dev_only) && !marked(line))
        .map(|line| {
            format!(
                "{}:{line}: a test sleeps; use `eventually`",
                source.file.path
            )
        })
        .collect()
}

#[test]
fn no_test_sleeps() {
    assert_none(&findings(&Tree::repository()));
}

#[test]
fn sleeping_test_is_found_and_a_sleeping_daemon_is_not() {
    let text = "async fn run() { tokio::time::sleep(PAUSE).await }\n\
                #[cfg(test)]\nmod tests {\n\
                async fn wait() { sleep(PAUSE).await }\n\
                // pause: the proxy delays answers on purpose\n\
                async fn delay() { sleep(PAUSE).await }\n}\n";
    let found = findings(&Tree::of(&[("crates/worker/src/duty.rs", text)]));
    assert_eq!(
        found,
        ["crates/worker/src/duty.rs:4: a test sleeps; use `eventually`"]
    );
}
