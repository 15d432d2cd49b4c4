//! Files and functions stay small enough to read in one sitting.

use crate::{
    source::Source,
    tree::{Tree, assert_none},
};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

fn findings(tree: &Tree) -> Vec<String> {
    tree.ending(".rs")
        .flat_map(|file| Source::parse(file).map_or_else(|e| vec![e], |s| of(&s)))
        .collect()
}

fn of(source: &Source<'_>) -> Vec<String> {
    let path = &source.file.path;
    let lines = source.product_lines();
    let file = (lines > FILE_LINES_MAX)
        .then(|| format!("{path}: {lines} lines without tests, at most {FILE_LINES_MAX}"));
    let long = source
        .functions()
        .into_iter()
        .filter(|found| found.lines > FUNCTION_LINES_MAX);
    let functions = long.map(|found| {
        let (line, name, lines) = (found.line, found.name, found.lines);
        format!("{path}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}")
    });
    file.into_iter().chain(functions).collect()
}

#[test]
fn files_and_functions_are_short() {
    assert_none(&findings(&Tree::repository()));
}

#[test]
fn long_file_is_found_and_long_tests_are_not() {
    let constant = "const A: u8 = 1;\n";
    let long = constant.repeat(401);
    let tests = format!(
        "{constant}#[cfg(test)]\nmod tests {{\n{}}}\n",
        constant.repeat(500)
    );
    let found = findings(&Tree::of(&[("a.rs", &long), ("b.rs", &tests)]));
    assert_eq!(found, ["a.rs: 401 lines without tests, at most 400"]);
}

#[test]
fn long_function_is_found_wherever_it_is() {
    let body = "    let _ = 1;\n".repeat(69);
    let function = format!("fn f() {{\n{body}}}\n");
    let text = format!("{function}impl A {{\n{function}}}\nmod m {{\n{function}}}\n");
    let found = findings(&Tree::of(&[("a.rs", &text)]));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found.first().unwrap(),
        "a.rs:1: `f` has 71 lines, at most 70"
    );
}
