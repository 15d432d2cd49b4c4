//! Takes the keys that the settings name, from the settings themselves or from a file.
//!
//! The file is for systemd credentials and container secrets; it holds the key and nothing else.

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
const SESSION_SECRET: &str = "security.session_secret";

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
    /// A retired key's name is no version, or that of the active key.
    #[error("`security.retired_keys.{0}` must be named with a version other than the active one")]
    Version(String),
}

/// The master keys.
///
/// # Errors
///
/// Names the setting and says what is wrong with its key and how to make a good one.
pub fn key_ring(security: &Security) -> Result<KeyRing, KeySettingError> {
    let file = security.encryption_key_file.as_deref();
    let text = read(ENCRYPTION_KEY, security.encryption_key.as_ref(), file)?;
    let active = MasterKey::parse(&text).map_err(refusal(ENCRYPTION_KEY))?;
    let version = security.encryption_key_version;
    let mut retired = BTreeMap::new();
    for (name, text) in &security.retired_keys {
        let number = name.parse().ok().filter(|number| *number != version);
        let number = number.ok_or_else(|| KeySettingError::Version(name.clone()))?;
        let key = MasterKey::parse(text.expose_secret());
        retired.insert(
            number,
            key.map_err(refusal(&format!("security.retired_keys.{name}")))?,
        );
    }
    Ok(KeyRing::new((version, active), retired))
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
            let unreadable = |source| KeySettingError::Unreadable {
                setting: format!("{setting}_file"),
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
        assert_eq!(ring.active_version(), 3);
        assert_eq!(ring.versions().collect::<Vec<_>>(), [2, 3]);
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
