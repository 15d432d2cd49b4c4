//! What can be wrong with settings, in words that say where to look and what to do.
//!
//! Values that may be secret never appear: only numbers and words that were given where no secret
//! is expected are repeated.

use std::{fmt, io, path::PathBuf};

use config::ConfigError;

use super::expand::ExpandError;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The settings file is not YAML.
    #[error("the settings file {} is not valid YAML", path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: ConfigError,
    },
    /// `SLIPWAY_ENV` is not a plain name.
    #[error("SLIPWAY_ENV is `{0}`; it must be a name of letters, digits, `-` and `_`")]
    Environment(String),
    /// `SLIPWAY_ENV` names an environment without a file.
    #[error("SLIPWAY_ENV is `{environment}`, but there is neither {} nor {}", first.display(), second.display())]
    NoFile {
        /// The name.
        environment: String,
        /// Where its file was looked for first.
        first: PathBuf,
        /// Where its file was looked for next.
        second: PathBuf,
    },
    /// Single settings are wrong; all of them are listed.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

/// One setting that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such setting.
    #[error("unknown setting `{key}` ({origin}){}", Hint(.nearest.as_deref()))]
    Unknown {
        /// Its full name.
        key: String,
        /// The file or variable that sets it.
        origin: String,
        /// The setting that was probably meant.
        nearest: Option<String>,
    },
    /// The value has another type.
    #[error("`{key}` must be {expected}, but it is {found} ({origin})")]
    Type {
        /// The setting's full name.
        key: String,
        /// The file or variable that sets it.
        origin: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The value refers to an environment variable that it cannot have.
    #[error("`{key}` {error} ({origin}){}", Remedy(key))]
    Reference {
        /// The setting's full name.
        key: String,
        /// The file that sets it.
        origin: String,
        /// What is wrong with the reference.
        error: ExpandError,
    },
    /// The value is of the right type but cannot be used.
    #[error("`{key}` {reason}")]
    Refused {
        /// The setting's full name.
        key: String,
        /// Why, as the rest of a sentence.
        reason: String,
    },
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |key| write!(f, "; did you mean `{key}`?"))
    }
}

/// Whoever has no key yet needs the command that makes one.
struct Remedy<'a>(&'a str);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(
            self.0,
            "security.encryption_key" | "security.session_secret"
        ) {
            f.write_str("; `slipway keys generate` prints a good one")?;
        }
        Ok(())
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used:")?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}
