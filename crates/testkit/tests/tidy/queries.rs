//! Queries stay in files made for them, so that "what touches this table" is answered by file names.

use crate::{
    source::Source,
    tree::{File, Tree, assert_none},
};

/// What a query looks like in tokens. `find` with an argument is an iterator's.
const PATTERNS: [&[&str]; 15] = [
    &[".", "find", "(", ")"],
    &["Entity", ":", ":", "find*"],
    &["Entity", ":", ":", "insert*"],
    &["Entity", ":", ":", "update*"],
    &["Entity", ":", ":", "delete*"],
    &["Entity", ":", ":", "load"],
    &[".", "query_one*"],
    &[".", "query_all*"],
    &[".", "execute_raw"],
    &[".", "execute_unprepared"],
    &["Statement", ":", ":"],
    &["Query", ":", ":", "select"],
    &["Query", ":", ":", "insert"],
    &["Query", ":", ":", "update"],
    &["Query", ":", ":", "delete"],
];

fn may_query(file: &File) -> bool {
    ["store.rs", "db.rs", "schema.rs"].contains(&file.name())
        || file
            .folders()
            .any(|folder| ["store", "db", "recovery"].contains(&folder))
        || file.path.starts_with("migration/")
        || file.path.starts_with("crates/testkit/")
}

fn findings(tree: &Tree) -> Vec<String> {
    let files = tree.ending(".rs").filter(|file| !may_query(file));
    files
        .flat_map(|file| Source::parse(file).map_or_else(|e| vec![e], |s| of(&s)))
        .collect()
}

fn of(source: &Source<'_>) -> Vec<String> {
    let lines = PATTERNS
        .iter()
        .flat_map(|pattern| source.product_lines_with(pattern));
    let path = &source.file.path;
    lines
        .map(|line| format!("{path}:{line}: queries belong into store.rs or db.rs"))
        .collect()
}

#[test]
fn queries_are_in_store_files() {
    assert_none(&findings(&Tree::repository()));
}

#[test]
fn query_in_a_service_is_found_and_an_iterator_is_not() {
    let text = "async fn f() {\n\
                Entity::find_by_id(1).one(db).await;\n\
                project::Entity::insert_many(rows);\n\
                db.query_one_raw(Statement::from_string(b, s));\n\
                user.find().all(db);\n\
                names.iter().find(|name| name.is_empty());\n\
                }\n#[cfg(test)]\nmod tests { fn f() { Entity::find(); } }\n";
    let found = findings(&Tree::of(&[
        ("crates/core/src/project/service.rs", text),
        ("crates/core/src/project/store.rs", text),
        ("crates/core/src/deployment/store/list.rs", text),
        ("crates/core/src/recovery/reaper.rs", text),
        ("migration/src/m1.rs", text),
    ]));
    let mut lines: Vec<&str> = found
        .iter()
        .filter_map(|line| line.split(':').nth(1))
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["2", "3", "4", "4", "5"], "{found:?}");
}
