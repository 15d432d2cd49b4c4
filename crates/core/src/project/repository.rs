//! Where a project's commits come from, and which transports are allowed.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use url::Url;

/// A repository address that git may be given: https, ssh, or a local path below an allowed folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUrl(String);

impl RepositoryUrl {
    /// Checks an address. `local_paths` are the folders below which a local path is accepted.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str, local_paths: &[PathBuf]) -> Result<Self, String> {
        if text.is_empty() || text.len() > 1000 {
            return Err("must have 1 to 1000 characters".to_owned());
        }
        if text.starts_with('-') {
            return Err("must not start with -".to_owned());
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("must not hold spaces or control characters".to_owned());
        }
        if text.starts_with('/') {
            check_local(Path::new(text), local_paths)?;
        } else if let Some(path) = text.strip_prefix("file://") {
            check_local(Path::new(path), local_paths)?;
            return Ok(Self(path.to_owned()));
        } else if text.contains("://") {
            check_url(text)?;
        } else {
            check_scp_form(text)?;
        }
        Ok(Self(text.to_owned()))
    }

    /// Takes an address that was checked when it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The address as git takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a path on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.starts_with('/')
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const TRANSPORTS: &str = "must be https://…, ssh://… or user@host:path";

fn check_local(path: &Path, allowed: &[PathBuf]) -> Result<(), String> {
    let plain = path.is_absolute()
        && path.components().all(|part| {
            matches!(
                part,
                std::path::Component::RootDir | std::path::Component::Normal(_)
            )
        });
    // A link inside an allowed folder must not lead out of it, so the real path counts.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_allowed = allowed.iter().any(|folder| {
        folder
            .canonicalize()
            .is_ok_and(|folder| real.starts_with(folder))
    });
    if plain && is_allowed {
        return Ok(());
    }
    Err(format!(
        "{TRANSPORTS}; a local path must lie below a folder of `repositories.local_paths`"
    ))
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    if !matches!(url.scheme(), "https" | "ssh") {
        return Err(format!("uses {}: {TRANSPORTS}", url.scheme()));
    }
    if url.password().is_some() || (url.scheme() == "https" && !url.username().is_empty()) {
        return Err(
            "must not hold a user or password: everybody who sees the project would see \
                    them"
                .to_owned(),
        );
    }
    if url.username().starts_with('-') {
        return Err("has a user name that starts with -".to_owned());
    }
    check_host(url.host_str().unwrap_or_default())?;
    if url.path().trim_matches('/').is_empty() {
        return Err("names a host and no repository".to_owned());
    }
    Ok(())
}

/// `git@host:path`, which git takes for ssh.
fn check_scp_form(text: &str) -> Result<(), String> {
    let Some((address, path)) = text.split_once(':') else {
        return Err(TRANSPORTS.to_owned());
    };
    let Some((user, host)) = address.split_once('@') else {
        return Err(TRANSPORTS.to_owned());
    };
    let user_ok = !user.is_empty()
        && !user.starts_with('-')
        && user
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !user_ok || path.is_empty() || path.starts_with('-') || path.starts_with(':') {
        return Err(TRANSPORTS.to_owned());
    }
    check_host(host)
}

fn check_host(host: &str) -> Result<(), String> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let good = !plain.is_empty()
        && !plain.starts_with('-')
        && plain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    if good {
        Ok(())
    } else {
        Err("has no valid host name".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_transports_pass() {
        for good in [
            "https://example.com/a/b.git",
            "ssh://git@example.com:2222/a/b.git",
            "git@example.com:a/b.git",
        ] {
            assert!(RepositoryUrl::parse(good, &[]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-u",
            "--config=a",
            "http://example.com/a",
            "git://example.com/a",
            "ext::sh -c id",
            "ext::sh",
            "fd::17",
            "file:///etc",
            "/etc",
            "a/b",
            "../a",
            "https://",
            "https://example.com",
            "https://user:pw@example.com/a",
            "https://token@example.com/a",
            "ssh://-oProxyCommand=x/a",
            "-o@host:path",
            "git@-oProxyCommand=x:a",
            "git@host:-a",
            "git@host:",
            "git@:a",
            "https://a b/c",
            "https://example.com/a\n",
            "ftp://example.com/a",
            "git@host::a",
        ] {
            assert!(RepositoryUrl::parse(bad, &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_local_path_needs_an_allowed_folder_and_cannot_leave_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("repo");
        std::fs::create_dir(&inside).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let allowed = [folder.path().to_owned()];
        let parse = |path: &Path| RepositoryUrl::parse(path.to_str().unwrap(), &allowed);

        assert!(parse(&inside).is_ok());
        assert!(RepositoryUrl::parse(inside.to_str().unwrap(), &[]).is_err());
        assert!(parse(&link).is_err());
        assert!(parse(&folder.path().join("../etc")).is_err());
        let url = format!("file://{}", inside.display());
        assert_eq!(
            RepositoryUrl::parse(&url, &allowed).unwrap().as_str(),
            inside.to_str().unwrap()
        );
    }
}
