//! The folder of one project's mirror: its lock, its leftovers, its replacement.
//!
//! Nothing here runs git. One holder of the lock at a time, in whatever process, changes a mirror.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::GitError;
use crate::exec::Scope;

/// How often a lock that someone else holds is tried again.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One project's folder. Dropping it gives the lock back.
pub(super) struct Mirror {
    dir: PathBuf,
    _lock: File,
}

impl Mirror {
    /// Waits for the lock of the mirror in `dir`.
    pub(super) async fn lock(dir: PathBuf, scope: &Scope) -> Result<Self, GitError> {
        fs::create_dir_all(&dir).map_err(|error| failed(&dir, &error))?;
        let path = dir.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| failed(&path, &error))?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { dir, _lock: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(failed(&path, &error.into())),
            }
            tokio::select! {
                () = scope.cancel.cancelled() => return Err(GitError::Cancelled),
                () = tokio::time::sleep(LOCK_POLL_INTERVAL) => {}
            }
        }
    }

    /// The bare repository.
    pub(super) fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// An empty place for its successor.
    pub(super) async fn incoming(&self) -> Result<PathBuf, GitError> {
        let incoming = self.dir.join("incoming");
        remove_tree(&incoming).await?;
        Ok(incoming)
    }

    /// Whether there is a mirror of `address`.
    pub(super) fn is_of(&self, address: &str) -> bool {
        let recorded = fs::read_to_string(self.dir.join("remote"));
        recorded.is_ok_and(|recorded| recorded == address) && self.repository().is_dir()
    }

    /// Puts a complete clone of `address` in the mirror's place.
    ///
    /// The record of the address goes first and comes back last, so that a mirror which was
    /// interrupted half-way counts as none.
    pub(super) async fn replace(&self, incoming: &Path, address: &str) -> Result<(), GitError> {
        let record = self.dir.join("remote");
        match fs::remove_file(&record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&record, &error));
            }
            _ => {}
        }
        let repository = self.repository();
        remove_tree(&repository).await?;
        fs::rename(incoming, &repository).map_err(|error| failed(&repository, &error))?;
        fs::write(&record, address).map_err(|error| failed(&record, &error))
    }

    /// Removes what a killed git has left. Whoever holds our lock knows that none is running.
    pub(super) fn remove_leftovers(&self) {
        let repository = self.repository();
        remove_files(&repository, 0, &is_lock);
        remove_files(&repository.join("refs"), usize::MAX, &is_lock);
        remove_files(&repository.join("objects/pack"), 0, &|name| {
            name.starts_with("tmp_")
        });
    }
}

/// No branch or tag can have such a name, so these are never anything else.
fn is_lock(name: &str) -> bool {
    name.ends_with(".lock")
}

fn remove_files(dir: &Path, depth: usize, unwanted: &dyn Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && depth > 0 {
            remove_files(&entry.path(), depth - 1, unwanted);
        } else if !is_dir && entry.file_name().to_str().is_some_and(unwanted) {
            // If it cannot be removed, git will say so.
            let _git_will_say = fs::remove_file(entry.path());
        }
    }
}

/// Removes a folder with everything in it, if it is there.
pub(super) async fn remove_tree(dir: &Path) -> Result<(), GitError> {
    match tokio::fs::remove_dir_all(dir).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(dir, &error)),
        _ => Ok(()),
    }
}

pub(super) fn failed(path: &Path, error: &io::Error) -> GitError {
    GitError::Failed(format!("{}: {error}", path.display()))
}
