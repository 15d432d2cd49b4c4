//! Takes the keys that the settings name, from the settings themselves or from files.
//!
//! Files are for systemd credentials and container secrets; each holds a key and nothing else. In the
//! key folder a key's version is the end of its file's name: `encryption_key_2`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{
    key::{KeyError, MasterKey, SessionSecret},
    ring::KeyRing,
};
use crate::settings::Security;

const ENCRYPTION_KEY: &str = "security.encryption_key";
const KEYS_DIR: &str = "security.keys_dir";
const SESSION_SECRET: &str = "security.session_secret";
/// What stands before the version in the names of key files.
pub const KEY_FILE: &str = "encryption_key_";

/// Why the keys in the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySettingError {
    /// A key is missing or not a good one.
    #[error("`{setting}` {error}")]
    Key {
        /// The setting's full name.
        setting: String,
        /// What is wrong.
        error: KeyError,
    },
    /// A key file cannot be read.
    #[error("cannot read {}, which `{setting}` names", path.display())]
    Unreadable {
        /// The setting's full name.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key's name is no version, or that of the first key.
    #[error(
        "`security.retired_keys.{0}` must be named with a version other than \
         security.encryption_key_version"
    )]
    Version(String),
    /// Two different keys have the same version.
    #[error("{} and `{setting}` are different keys of version {version}", path.display())]
    Twice {
        /// The setting's full name.
        setting: String,
        /// The file.
        path: PathBuf,
        /// The version that both have.
        version: i32,
    },
}

/// The master keys.
///
/// # Errors
///
/// Names the setting and says what is wrong with its key and how to make a good one.
pub fn key_ring(security: &Security) -> Result<KeyRing, KeySettingError> {
    let mut keys = BTreeMap::new();
    let version = security.encryption_key_version;
    for (name, text) in &security.retired_keys {
        let number = name.parse().ok().filter(|number| *number != version);
        let number = number.ok_or_else(|| KeySettingError::Version(name.clone()))?;
        let key = MasterKey::parse(text.expose_secret());
        keys.insert(number, key.map_err(refusal(&retired_key(number)))?);
    }
    let is_set = security.encryption_key.is_some() || security.encryption_key_file.is_some();
    if is_set || security.keys_dir.is_none() {
        let file = security.encryption_key_file.as_deref();
        let text = read(ENCRYPTION_KEY, security.encryption_key.as_ref(), file)?;
        let key = MasterKey::parse(&text).map_err(refusal(ENCRYPTION_KEY))?;
        keys.insert(version, key);
    }
    for (number, path, key) in in_folder(security)? {
        match keys.get(&number) {
            None => {
                keys.insert(number, key);
            }
            Some(known) if known.is_same(&key) => {}
            Some(_) => {
                let setting = if number == version {
                    ENCRYPTION_KEY.to_owned()
                } else {
                    retired_key(number)
                };
                return Err(KeySettingError::Twice {
                    setting,
                    path,
                    version: number,
                });
            }
        }
    }
    let newest = keys.last_key_value().map(|(number, _)| *number);
    let preferred = if is_set { Some(version) } else { newest };
    preferred
        .and_then(|number| Some((number, keys.remove(&number)?)))
        .map(|preferred| KeyRing::new(preferred, keys))
        .ok_or_else(|| refusal(ENCRYPTION_KEY)(KeyError::Missing))
}

/// All keys as the settings and their files have them, good or not, for the log to mask. Whoever
/// needs a file that cannot be read says so.
pub(crate) fn texts(security: &Security) -> Vec<Zeroizing<String>> {
    let set = [&security.encryption_key, &security.session_secret];
    let set = set
        .into_iter()
        .flatten()
        .chain(security.retired_keys.values());
    let set = set.map(|text| Zeroizing::new(text.expose_secret().to_owned()));
    let named = [&security.encryption_key_file, &security.session_secret_file];
    let folder = files(security)
        .unwrap_or_default()
        .into_iter()
        .map(|(_, path)| path);
    let files = named.into_iter().flatten().cloned().chain(folder);
    let read = files.filter_map(|path| fs::read_to_string(path).ok().map(Zeroizing::new));
    set.chain(read).collect()
}

/// Keys in the key folder whose version `ring` does not have, each in a ring of its own.
///
/// # Errors
///
/// As [`key_ring`].
pub fn new_keys(
    security: &Security,
    ring: &KeyRing,
) -> Result<Vec<(i32, KeyRing)>, KeySettingError> {
    let mut found = Vec::new();
    for (version, path) in files(security)? {
        if !ring.has(version) {
            let key = in_file(&path)?;
            found.push((version, KeyRing::new((version, key), BTreeMap::new())));
        }
    }
    Ok(found)
}

fn retired_key(version: i32) -> String {
    format!("security.retired_keys.{version}")
}

fn in_folder(security: &Security) -> Result<Vec<(i32, PathBuf, MasterKey)>, KeySettingError> {
    let read = |(version, path): (i32, PathBuf)| {
        let key = in_file(&path)?;
        Ok((version, path, key))
    };
    files(security)?.into_iter().map(read).collect()
}

fn in_file(path: &Path) -> Result<MasterKey, KeySettingError> {
    let text = read(KEYS_DIR, None, Some(path))?;
    let setting = format!("{} in {KEYS_DIR}", path.display());
    MasterKey::parse(&text).map_err(refusal(&setting))
}

/// The key files of the key folder by version: those whose names end in `encryption_key_` and a number.
/// Systemd puts all credentials of a service into one folder, and the name that it was given for a
/// whole folder of them before the name of each.
fn files(security: &Security) -> Result<Vec<(i32, PathBuf)>, KeySettingError> {
    let Some(folder) = &security.keys_dir else {
        return Ok(Vec::new());
    };
    let unreadable = |source| KeySettingError::Unreadable {
        setting: KEYS_DIR.to_owned(),
        path: folder.clone(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let version = name
            .to_str()
            .and_then(|name| name.rsplit_once(KEY_FILE))
            .and_then(|(_, version)| version.parse::<i32>().ok());
        if let Some(version) = version.filter(|version| *version >= 1) {
            found.push((version, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The session secret.
///
/// # Errors
///
/// Names the setting and says what is wrong with the secret and how to make a good one.
pub fn session_secret(security: &Security) -> Result<SessionSecret, KeySettingError> {
    let file = security.session_secret_file.as_deref();
    let text = read(SESSION_SECRET, security.session_secret.as_ref(), file)?;
    SessionSecret::parse(&text).map_err(refusal(SESSION_SECRET))
}

fn refusal(setting: &str) -> impl FnOnce(KeyError) -> KeySettingError {
    move |error| KeySettingError::Key {
        setting: setting.to_owned(),
        error,
    }
}

/// The text of a setting or of its file; neither is as good as empty.
fn read(
    setting: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Zeroizing<String>, KeySettingError> {
    match (value, file) {
        (Some(value), _) => Ok(Zeroizing::new(value.expose_secret().to_owned())),
        (None, Some(path)) => {
            let setting = if setting == KEYS_DIR {
                setting.to_owned()
            } else {
                format!("{setting}_file")
            };
            let unreadable = |source| KeySettingError::Unreadable {
                setting,
                path: path.to_owned(),
                source,
            };
            fs::read_to_string(path)
                .map(Zeroizing::new)
                .map_err(unreadable)
        }
        (None, None) => Ok(Zeroizing::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load::{Source, load};

    const KEY: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";
    const OLD: &str = "c1b90de37a5548f2961f0cb3ad7e26148f35d0a96be27c41f8023d9a65b7ce10";

    fn security(settings: &[(&str, &str)]) -> Security {
        let variable = |(name, value): &(&str, &str)| {
            (format!("SLIPWAY__SECURITY__{name}"), (*value).to_owned())
        };
        let env = settings.iter().map(variable).collect();
        load(&Source::default(), &env).unwrap().security
    }

    fn refusal(settings: &[(&str, &str)]) -> String {
        key_ring(&security(settings)).unwrap_err().to_string()
    }

    #[test]
    fn keys_come_from_the_settings() {
        let ring = key_ring(&security(&[
            ("ENCRYPTION_KEY", KEY),
            ("ENCRYPTION_KEY_VERSION", "3"),
            ("RETIRED_KEYS__2", OLD),
        ]));
        let ring = ring.unwrap();
        assert_eq!(ring.preferred_version(), 3);
        assert_eq!(ring.versions(), [2, 3]);
    }

    #[test]
    fn keys_come_from_a_folder_by_version() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let dir = folder.path().to_str().unwrap().to_owned();
        let alone = security(&[("KEYS_DIR", &dir)]);
        let refused = key_ring(&alone).unwrap_err().to_string();
        assert!(
            refused.starts_with("`security.encryption_key` is missing"),
            "{refused}"
        );
        put("encryption_key_1", OLD);
        put("keys_encryption_key_10", &format!("{KEY}\n"));
        for other in ["session_secret", "encryption_key_x", "encryption_key_", "2"] {
            put(other, "something else");
        }
        let ring = key_ring(&alone).unwrap();
        assert_eq!(
            (ring.preferred_version(), ring.versions()),
            (10, vec![1, 10])
        );

        let both = security(&[("KEYS_DIR", &dir), ("ENCRYPTION_KEY", OLD)]);
        assert_eq!(key_ring(&both).unwrap().preferred_version(), 1);
        let differ = security(&[("KEYS_DIR", &dir), ("ENCRYPTION_KEY", KEY)]);
        let refused = key_ring(&differ).unwrap_err().to_string();
        assert!(
            refused.contains("are different keys of version 1"),
            "{refused}"
        );

        put("encryption_key_11", "short");
        let refused = key_ring(&alone).unwrap_err().to_string();
        assert!(
            refused.contains("encryption_key_11 in security.keys_dir"),
            "{refused}"
        );
    }

    #[test]
    fn key_that_comes_into_the_folder_later_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let settings = security(&[("KEYS_DIR", dir), ("ENCRYPTION_KEY", KEY)]);
        let ring = key_ring(&settings).unwrap();
        assert!(new_keys(&settings, &ring).unwrap().is_empty());
        fs::write(folder.path().join("encryption_key_2"), OLD).unwrap();
        let found = new_keys(&settings, &ring).unwrap();
        let [(2, new)] = <[_; 1]>::try_from(found).unwrap() else {
            panic!("another version");
        };
        ring.adopt(new);
        assert_eq!(ring.versions(), [1, 2]);
        assert!(new_keys(&settings, &ring).unwrap().is_empty());
    }

    #[test]
    fn keys_come_from_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{KEY}\n")).unwrap();
        let path = file.path().to_str().unwrap();
        let named = security(&[("ENCRYPTION_KEY_FILE", path), ("SESSION_SECRET_FILE", path)]);
        let check = key_ring(&named).unwrap().check_value(1).unwrap();
        let direct = key_ring(&security(&[("ENCRYPTION_KEY", KEY)])).unwrap();
        direct.verify_check(1, &check).unwrap();
        assert_eq!(session_secret(&named).unwrap().expose(), KEY.as_bytes());
    }

    #[test]
    fn refusal_names_the_setting_and_the_remedy() {
        assert_eq!(
            refusal(&[]),
            "`security.encryption_key` is missing; `slipway keys generate` prints a good one"
        );
        assert_eq!(
            refusal(&[("ENCRYPTION_KEY", KEY), ("RETIRED_KEYS__7", "00")]),
            "`security.retired_keys.7` has 2 characters instead of 64 hexadecimal ones; \
             `slipway keys generate` prints a good one"
        );
        let missing = session_secret(&security(&[])).unwrap_err().to_string();
        assert!(
            missing.starts_with("`security.session_secret` is missing"),
            "{missing}"
        );
    }

    #[test]
    fn missing_file_is_named() {
        assert_eq!(
            refusal(&[("ENCRYPTION_KEY_FILE", "/nowhere/key")]),
            "cannot read /nowhere/key, which `security.encryption_key_file` names"
        );
    }

    #[test]
    fn retired_keys_have_versions_of_their_own() {
        for version in ["1", "old"] {
            let name = format!("RETIRED_KEYS__{version}");
            let error = refusal(&[("ENCRYPTION_KEY", KEY), (&name, OLD)]);
            assert!(error.contains("must be named with a version"), "{error}");
        }
    }
}
