//! The files that the rules are about: the repository's, or a few made up for a rule's own test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A text file; binary ones are not in the tree.
pub(crate) struct File {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

/// A set of files.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// What the repository holds now: committed or not, but not what git ignores.
    pub(crate) fn repository() -> Self {
        let root = root();
        let paths = listed_by_git(&root).unwrap_or_else(|| walked(&root));
        let read = |path: String| {
            let text = String::from_utf8(fs::read(root.join(&path)).ok()?).ok()?;
            Some(File { path, text })
        };
        let files: Vec<File> = paths.into_iter().filter_map(read).collect();
        assert!(
            files.len() > 20,
            "the repository was not found at {}",
            root.display()
        );
        Self { files }
    }

    /// A made-up tree.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File {
            path: path.into(),
            text: text.into(),
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    /// The files whose name ends so.
    pub(crate) fn ending(&self, suffix: &str) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(move |file| file.path.ends_with(suffix))
    }

    /// The files below a folder, which is given with its final `/`.
    pub(crate) fn below(&self, folder: &str) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(folder))
    }

    /// One file.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The folders it lies in, outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.path
            .rsplit_once('/')
            .map_or("", |(folders, _)| folders)
            .split('/')
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Fails the test with every finding on a line of its own.
#[track_caller]
pub(crate) fn assert_none(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let list = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .ok()
        .filter(|list| list.status.success())?;
    let list = String::from_utf8(list.stdout).ok()?;
    Some(
        list.split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

/// For an unpacked archive, where there is no git to ask.
fn walked(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = folder.join(entry.file_name());
            let skipped = [".git", "target"]
                .iter()
                .any(|skip| path == Path::new(skip));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !skipped => folders.push(path),
                Ok(kind) if kind.is_file() => paths.extend(path.to_str().map(str::to_owned)),
                _ => {}
            }
        }
    }
    paths
}

#[test]
fn walk_finds_what_git_lists() {
    let root = root();
    let walked = walked(&root);
    for path in ["Cargo.toml", "crates/testkit/tests/tidy/tree.rs"] {
        assert!(walked.iter().any(|found| found == path), "{path}");
    }
    assert!(!walked.iter().any(|path| path.starts_with(".git/")));
}
