//! The data folder of `slipway up`: made once, private to its owner, run on by one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::{
    settings::{Dialect, Settings, load::environment},
    vault::{key::MasterKey, load::KEY_FILE},
};

/// What `worker.dir` is unless it is configured; `up` uses its own folder instead.
const SYSTEM_WORKER_DIR: &str = "/var/lib/slipway/worker";

/// The file of the key that is made with the folder. Later ones are named by their version.
const FIRST_KEY: &str = "encryption.key";

/// The data folder, locked.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

/// The right to run on a data folder, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataFolder {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
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
        Ok(Self { path })
    }

    /// Takes the folder for this process alone.
    ///
    /// # Errors
    /// When another process has it.
    pub(crate) fn lock(&self) -> anyhow::Result<DataLock> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.join("lock"))
            .with_context(|| format!("locking the data folder {}", self.path.display()))?;
        if file.try_lock().is_err() {
            bail!(
                "another `slipway up` is using the data folder {}",
                self.path.display()
            );
        }
        Ok(DataLock { _file: file })
    }

    /// Fills in what the settings leave open.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub(crate) fn complete(&self, settings: &mut Settings) -> anyhow::Result<()> {
        if settings.database.dialect == Dialect::Sqlite && settings.database.path.is_none() {
            settings.database.path = Some(self.path.join("slipway.db"));
        }
        let security = &mut settings.security;
        let is_set = security.encryption_key.is_some() || security.encryption_key_file.is_some();
        if security.keys_dir.is_none() {
            security.keys_dir = Some(self.keys()?);
        }
        // The first key may have been taken away once others had its place: no new one comes then.
        let first = self.keys()?.join(FIRST_KEY);
        if !is_set && (first.exists() || !self.has_later_keys()?) {
            security.encryption_key_file = Some(self.key(FIRST_KEY)?);
        }
        if security.session_secret.is_none() && security.session_secret_file.is_none() {
            security.session_secret_file = Some(self.key("session.key")?);
        }
        if settings.worker.dir.as_os_str() == SYSTEM_WORKER_DIR {
            settings.worker.dir = self.path.join("worker");
        }
        settings.repositories.local_paths.push(self.demo());
        Ok(())
    }

    pub(crate) fn demo(&self) -> PathBuf {
        self.path.join("demo")
    }

    /// The file of a key, made once.
    ///
    /// # Errors
    /// When it cannot be written.
    fn key(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.keys()?.join(name);
        if !path.exists() {
            let key = MasterKey::generate()?.to_hex();
            write_key(&path, &key).with_context(|| format!("making the key {}", path.display()))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(path)
    }

    /// The folder of keys, which is made where it is missing.
    fn keys(&self) -> anyhow::Result<PathBuf> {
        let folder = self.path.join("keys");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("using the key folder {}", folder.display()))?;
        Ok(folder)
    }

    fn has_later_keys(&self) -> anyhow::Result<bool> {
        let mut names = fs::read_dir(self.keys()?)?.flatten();
        Ok(names.any(|entry| entry.file_name().to_string_lossy().starts_with(KEY_FILE)))
    }
}

/// Written beside its place and moved there whole: a crash must not leave half a key.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_key(path: &Path, key: &SecretString) -> anyhow::Result<()> {
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
    file.write_all(key.expose_secret().as_bytes())?;
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
        let path = folder.key(FIRST_KEY).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert_eq!(first.trim().len(), 64);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        folder.key(FIRST_KEY).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = Some(place.path().join("data"));
        let folder = DataFolder::open(path).unwrap();
        let first = folder.lock().unwrap();
        assert!(folder.lock().is_err());
        drop(first);
        assert!(folder.lock().is_ok());
    }
}
