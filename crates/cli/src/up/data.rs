//! The data folder: made once, private to its owner, used by one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;
use slipway_core::{settings::load::environment, vault::key::MasterKey};

/// What `worker.dir` is unless it is configured; `up` uses its own folder instead.
pub(super) const SYSTEM_WORKER_DIR: &str = "/var/lib/slipway/worker";

/// The data folder, locked.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// When it cannot be used, or another process uses it.
    pub(super) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match path {
            Some(path) => path,
            None => default_path()?,
        };
        let context = || format!("using the data folder {}", path.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(context)?;
        let path = path.canonicalize().with_context(context)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(context)?;
        if lock.try_lock().is_err() {
            bail!(
                "another `slipway up` is using the data folder {}",
                path.display()
            );
        }
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("slipway.db")
    }

    pub(super) fn worker(&self) -> PathBuf {
        self.path.join("worker")
    }

    pub(super) fn demo(&self) -> PathBuf {
        self.path.join("demo")
    }

    /// The file of a key, made once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn key(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.path.join("keys");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let path = folder.join(name);
        if !path.exists() {
            write_key(&path).with_context(|| format!("making the key {}", path.display()))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(path)
    }
}

/// Written beside its place and moved there whole: a crash must not leave half a key.
fn write_key(path: &Path) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(MasterKey::generate()?.to_hex().expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    Ok(())
}

fn default_path() -> anyhow::Result<PathBuf> {
    let environment = environment();
    let folder = |name: &str| environment.get(name).filter(|path| path.starts_with('/'));
    if let Some(data) = folder("XDG_DATA_HOME") {
        return Ok(Path::new(data).join("slipway"));
    }
    let home = folder("HOME").context("there is no home folder; name a data folder with --data")?;
    Ok(Path::new(home).join(".local/share/slipway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_private() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(Some(place.path().join("data"))).unwrap();
        let path = folder.key("encryption.key").unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert_eq!(first.trim().len(), 64);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        folder.key("encryption.key").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = Some(place.path().join("data"));
        let first = DataFolder::open(path.clone()).unwrap();
        assert!(DataFolder::open(path.clone()).is_err());
        drop(first);
        assert!(DataFolder::open(path).is_ok());
    }
}
