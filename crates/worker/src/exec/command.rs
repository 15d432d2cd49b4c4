//! A command as a value: program, arguments, environment, folder.
//!
//! Building one has no side effect, and its printed form never has a secret in it.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

/// One program run, described but not started.
///
/// The environment is exactly what was given here; nothing comes from this process. `PATH`
/// included: without it the program is looked for in the system's default folders.
#[derive(Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, Value>,
    dir: Option<PathBuf>,
    discard_errors: bool,
}

#[derive(Clone)]
enum Value {
    Plain(OsString),
    Secret(SecretString),
}

impl Command {
    /// A command without arguments or environment.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            dir: None,
            discard_errors: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable that anyone may see.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), Value::Plain(value.into()));
        self
    }

    /// Sets an environment variable that is never printed.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: SecretString) -> Self {
        self.env.insert(name.into(), Value::Secret(value));
        self
    }

    /// Sets the folder the program starts in; default is this process's.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Throws standard error away, for output that a program reads.
    #[must_use]
    pub fn discard_errors(mut self) -> Self {
        self.discard_errors = true;
        self
    }

    pub(super) fn program(&self) -> &OsStr {
        &self.program
    }

    pub(super) fn working_dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    pub(super) fn discards_errors(&self) -> bool {
        self.discard_errors
    }

    /// The form the standard library starts, without its streams.
    pub(super) fn to_std(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).env_clear();
        for (name, value) in &self.env {
            match value {
                Value::Plain(value) => command.env(name, value),
                Value::Secret(value) => command.env(name, value.expose_secret()),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }
}

/// The command as one would type it, with secrets masked.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            match value {
                Value::Plain(value) => write!(f, "{name}={} ", quoted(value))?,
                Value::Secret(_) => write!(f, "{name}=[REDACTED] ")?,
            }
        }
        f.write_str(&quoted(&self.program))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

fn quoted(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_printed_as_one_would_type_it() {
        let command = Command::new("git")
            .args(["log", "--format=%an <%ae>", ""])
            .arg("it's");
        assert_eq!(
            command.to_string(),
            r"git log '--format=%an <%ae>' '' 'it'\''s'"
        );
    }

    #[test]
    fn secrets_are_masked_however_a_command_is_printed() {
        let command = Command::new("env")
            .env("PLAIN", "a b")
            .secret("TOKEN", SecretString::from("hunter2-hunter2"));
        assert_eq!(command.to_string(), "PLAIN='a b' TOKEN=[REDACTED] env");
        assert!(!format!("{command:?}").contains("hunter2"));
    }

    #[test]
    fn secret_reaches_the_environment_of_the_program() {
        let command = Command::new("env").secret("TOKEN", SecretString::from("hunter2"));
        let std = command.to_std();
        let value = std
            .get_envs()
            .find(|(name, _)| *name == "TOKEN")
            .and_then(|(_, value)| value);
        assert_eq!(value, Some(OsStr::new("hunter2")));
    }
}
