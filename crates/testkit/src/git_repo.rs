//! A real git repository in a temporary folder.
//!
//! Nothing of the developer's own git configuration reaches it, so it behaves the same everywhere.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use tempfile::TempDir;

/// A repository that is gone when the test ends.
#[derive(Debug)]
pub struct GitRepo {
    folder: TempDir,
}

impl GitRepo {
    /// Makes an empty repository on branch `main`.
    ///
    /// # Panics
    /// When git is not installed.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let repo = Self { folder };
        repo.git(&["init", "--quiet", "--initial-branch", "main"]);
        repo
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its address for cloning.
    #[must_use]
    pub fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Writes a file, with its folders, without committing it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, contents: &str) -> &Self {
        let file = self.path().join(path);
        let folder = file
            .parent()
            .expect("a file in the repository has a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(&file, contents).expect("the file can be written");
        self
    }

    /// Writes an executable file without committing it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_script(&self, path: &str, contents: &str) -> &Self {
        self.write(path, contents);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path().join(path), mode).expect("the mode can be set");
        self
    }

    /// Commits everything that changed, even nothing, and returns the commit's id.
    ///
    /// # Panics
    /// When git refuses.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    /// Writes one file and commits it; returns the commit's id.
    ///
    /// # Panics
    /// When git refuses.
    pub fn commit_file(&self, path: &str, contents: &str) -> String {
        self.write(path, contents).commit(&format!("Change {path}"))
    }

    /// Starts a branch here and switches to it.
    ///
    /// # Panics
    /// When git refuses.
    pub fn branch(&self, name: &str) {
        self.git(&["switch", "--quiet", "--create", name]);
    }

    /// Switches to an existing branch.
    ///
    /// # Panics
    /// When git refuses.
    pub fn switch(&self, name: &str) {
        self.git(&["switch", "--quiet", name]);
    }

    /// Gives the current commit a tag.
    ///
    /// # Panics
    /// When git refuses.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name]);
    }

    /// The current commit's id.
    ///
    /// # Panics
    /// When there is no commit yet.
    #[must_use]
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the repository and returns what it printed, trimmed.
    ///
    /// # Panics
    /// When git fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            // A test may itself run below a git hook, whose variables would point elsewhere.
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "Test")
            .env("GIT_AUTHOR_EMAIL", "test@example.com")
            .env("GIT_COMMITTER_NAME", "Test")
            .env("GIT_COMMITTER_EMAIL", "test@example.com")
            .output()
            .expect("git is installed");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "git {arguments:?} failed: {complaint}"
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Default for GitRepo {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clone_has_the_files_and_modes_of_the_branch() {
        let repo = GitRepo::new();
        repo.write("docs/a.txt", "one")
            .write_script("run.sh", "#!/bin/sh\n")
            .commit("First");
        repo.branch("next");
        repo.commit_file("docs/a.txt", "two");
        repo.switch("main");

        let copy = GitRepo::new();
        copy.git(&["fetch", "--quiet", &repo.url(), "next"]);
        copy.git(&["checkout", "--quiet", "FETCH_HEAD"]);
        assert_eq!(
            fs::read_to_string(copy.path().join("docs/a.txt")).unwrap(),
            "two"
        );
        assert_eq!(
            fs::read_to_string(repo.path().join("docs/a.txt")).unwrap(),
            "one"
        );
        let mode = fs::metadata(copy.path().join("run.sh"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o100, 0o100);
    }

    #[test]
    fn tag_names_the_commit_it_was_put_on() {
        let repo = GitRepo::new();
        let first = repo.commit("First");
        repo.tag("v1");
        let second = repo.commit("Second");
        assert_eq!(repo.git(&["rev-parse", "v1"]), first);
        assert_eq!(repo.head(), second);
        assert_ne!(first, second);
    }

    #[test]
    #[should_panic(expected = "git [\"switch\", \"--quiet\", \"nowhere\"] failed")]
    fn refusal_shows_the_command() {
        GitRepo::new().switch("nowhere");
    }
}
