//! Nothing lies around unused: modules, migrations, templates and static files.

use crate::{
    source::Source,
    tree::{File, Tree, assert_none},
};

const TEMPLATES: &str = "crates/api/templates/";
const STATIC: &str = "crates/api/static/";
const SCRIPT_LINES_MAX: usize = 400;

fn unlisted_migrations(tree: &Tree) -> Vec<String> {
    let list = tree
        .get("migration/src/lib.rs")
        .map_or("", |file| &file.text);
    let migrations = tree.below("migration/src/").filter_map(|file| {
        let name = file.name().strip_suffix(".rs")?;
        let numbered = name
            .strip_prefix('m')?
            .starts_with(|c: char| c.is_ascii_digit());
        numbered.then_some((file, name))
    });
    let unlisted = migrations.filter(|(_, name)| {
        !list.contains(&format!("mod {name};")) || !list.contains(&format!("{name}::Migration"))
    });
    unlisted
        .map(|(file, _)| format!("{}: is not run by migration/src/lib.rs", file.path))
        .collect()
}

/// Files below `folder` whose path from there no other file of the API crate mentions.
fn unused(tree: &Tree, folder: &str) -> Vec<String> {
    let mentioned = |file: &File, name: &str| {
        tree.below("crates/api/")
            .any(|other| other.path != file.path && other.text.contains(name))
    };
    let files = tree
        .below(folder)
        .filter_map(|file| Some((file, file.path.strip_prefix(folder)?)));
    let unused = files.filter(|(file, name)| !mentioned(file, name));
    unused
        .map(|(file, _)| format!("{}: nothing uses it", file.path))
        .collect()
}

/// Source files that no `mod` makes part of the crate.
fn undeclared_modules(tree: &Tree) -> Vec<String> {
    let in_source = |file: &&File| file.folders().any(|folder| folder == "src");
    let root = |file: &&File| ["lib.rs", "main.rs", "mod.rs"].contains(&file.name());
    let binary = |file: &&File| file.folders().last() == Some("bin");
    let modules = tree
        .ending(".rs")
        .filter(in_source)
        .filter(|f| !root(f) && !binary(f));
    modules
        .filter(|file| {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or_default();
            let name = name.trim_end_matches(".rs");
            let parents = ["mod.rs", "lib.rs", "main.rs"].map(|root| format!("{folder}/{root}"));
            let above = format!("{folder}.rs");
            let mut parents = parents
                .iter()
                .chain([&above])
                .filter_map(|path| tree.get(path));
            !parents.any(|parent| declares(parent, name))
        })
        .map(|file| format!("{}: no module declares it", file.path))
        .collect()
}

fn declares(parent: &File, name: &str) -> bool {
    let tokens = Source::parse(parent)
        .map(|source| source.tokens())
        .unwrap_or_default();
    tokens
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.text == "mod" && b.text == name))
}

fn scripts(tree: &Tree) -> Vec<String> {
    let scripts = tree.below(STATIC).filter(|file| file.path.ends_with(".js"));
    let lines: usize = scripts.map(|file| file.text.lines().count()).sum();
    let over = lines > SCRIPT_LINES_MAX;
    over.then(|| format!("{STATIC}: {lines} lines of JavaScript, at most {SCRIPT_LINES_MAX}"))
        .into_iter()
        .collect()
}

#[test]
fn every_migration_is_run() {
    assert_none(&unlisted_migrations(&Tree::repository()));
}

#[test]
fn every_template_and_static_file_is_used() {
    let tree = Tree::repository();
    assert_none(&unused(&tree, TEMPLATES));
    assert_none(&unused(&tree, STATIC));
}

#[test]
fn every_source_file_is_part_of_its_crate() {
    assert_none(&undeclared_modules(&Tree::repository()));
}

#[test]
fn scripts_stay_few() {
    assert_none(&scripts(&Tree::repository()));
}

#[test]
fn forgotten_migration_is_found() {
    let list = "mod m1_a;\nmod m2_b;\nvec![Box::new(m1_a::Migration)]";
    let tree = Tree::of(&[
        ("migration/src/lib.rs", list),
        ("migration/src/m1_a.rs", ""),
        ("migration/src/m2_b.rs", ""),
        ("migration/src/main.rs", ""),
    ]);
    let found = unlisted_migrations(&tree);
    assert_eq!(
        found,
        ["migration/src/m2_b.rs: is not run by migration/src/lib.rs"]
    );
}

#[test]
fn unused_template_is_found() {
    let tree = Tree::of(&[
        (
            "crates/api/src/pages/home.rs",
            "#[template(path = \"home/list.html\")]",
        ),
        (
            "crates/api/templates/home/list.html",
            "{% include \"parts/row.html\" %}",
        ),
        ("crates/api/templates/parts/row.html", ""),
        ("crates/api/templates/parts/old.html", "parts/old.html"),
    ]);
    let found = unused(&tree, TEMPLATES);
    assert_eq!(
        found,
        ["crates/api/templates/parts/old.html: nothing uses it"]
    );
}

#[test]
fn undeclared_module_is_found() {
    let tree = Tree::of(&[
        ("crates/core/src/lib.rs", "pub mod vault;\n// mod old;"),
        ("crates/core/src/vault/mod.rs", "mod cipher;"),
        ("crates/core/src/vault/cipher.rs", ""),
        ("crates/core/src/old.rs", ""),
        ("crates/core/tests/store/list.rs", ""),
    ]);
    assert_eq!(
        undeclared_modules(&tree),
        ["crates/core/src/old.rs: no module declares it"]
    );
}

#[test]
fn too_much_script_is_found() {
    let half = "x();\n".repeat(201);
    let tree = Tree::of(&[
        ("crates/api/static/a.js", &half),
        ("crates/api/static/b.js", &half),
    ]);
    assert_eq!(
        scripts(&tree),
        ["crates/api/static/: 402 lines of JavaScript, at most 400"]
    );
}
