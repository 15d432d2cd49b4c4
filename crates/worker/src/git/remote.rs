//! Where a project's commits come from: the address, checked, and without its password.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::GitError;

/// An accepted repository address. Printing it shows no credentials.
#[derive(Clone)]
pub struct Remote {
    address: String,
    transport: Transport,
    authorization: Option<SecretString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Https,
    Ssh,
    Local,
}

impl Remote {
    /// Accepts `https://`, `ssh://`, `user@host:path`, and absolute paths below `local_paths`.
    ///
    /// # Errors
    /// [`GitError::Refused`] for anything else.
    pub fn parse(text: &str, local_paths: &[PathBuf]) -> Result<Self, GitError> {
        if text.starts_with('-') || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(refused("the address of the repository is malformed"));
        }
        if let Some(path) = text
            .strip_prefix("file://")
            .or(text.starts_with('/').then_some(text))
        {
            return local(Path::new(path), local_paths);
        }
        if text.contains("://") {
            let url = Url::parse(text)
                .map_err(|error| refused(format!("the address of the repository: {error}")))?;
            return from_url(url);
        }
        if is_scp_like(text) {
            return Ok(Self::new(text, Transport::Ssh));
        }
        Err(refused("a repository has an https or ssh address"))
    }

    fn new(address: impl Into<String>, transport: Transport) -> Self {
        Self {
            address: address.into(),
            transport,
            authorization: None,
        }
    }

    /// The address without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    /// The value of the `Authorization` header, which must not appear in any argument.
    pub(super) fn authorization(&self) -> Option<&SecretString> {
        self.authorization.as_ref()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.address)
    }
}

fn refused(reason: impl Into<String>) -> GitError {
    GitError::Refused(reason.into())
}

fn from_url(mut url: Url) -> Result<Remote, GitError> {
    let host_is_safe = url
        .host_str()
        .is_some_and(|host| !host.is_empty() && !host.starts_with('-'));
    if !host_is_safe || url.username().starts_with('-') {
        return Err(refused("the address of the repository has no valid host"));
    }
    match (url.scheme(), url.password()) {
        ("https", _) => {}
        ("ssh", None) => return Ok(Remote::new(url, Transport::Ssh)),
        ("ssh", Some(_)) => return Err(refused("ssh works with keys, not with passwords")),
        (scheme, _) => {
            return Err(refused(format!(
                "{scheme} is not accepted; use https or ssh"
            )));
        }
    }
    let authorization = authorization(&url);
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    if cleared.is_err() {
        return Err(refused("the address of the repository is malformed"));
    }
    Ok(Remote {
        authorization,
        ..Remote::new(url, Transport::Https)
    })
}

/// Credentials of the address in the form of a header: git would show the address in its
/// arguments, where every user of the machine can read it.
fn authorization(url: &Url) -> Option<SecretString> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decoded(text);
    let user = decoded(url.username());
    let password = decoded(url.password().unwrap_or_default());
    let pair = SecretString::from(format!("{user}:{password}"));
    let encoded = STANDARD.encode(pair.expose_secret());
    Some(SecretString::from(format!("Basic {encoded}")))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.split_at_checked(2))
            .flatten()
            .and_then(|(digits, tail)| Some((*hex::decode(digits).ok()?.first()?, tail)));
        let (byte, tail) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_scp_like(text: &str) -> bool {
    let Some((login, path)) = text.split_once(':') else {
        return false;
    };
    let word = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    // A second colon would name a transport helper, which is a program to run.
    let path_is_safe = !path.is_empty() && !path.starts_with(['-', ':']);
    path_is_safe
        && login
            .split_once('@')
            .map_or(word(login), |(user, host)| word(user) && word(host))
}

fn local(path: &Path, allowed: &[PathBuf]) -> Result<Remote, GitError> {
    let not_here = || refused("this path is not among the local repositories that are accepted");
    // Links are followed first, so none of them can lead out of an accepted folder.
    let Ok(real) = path.canonicalize() else {
        return Err(not_here());
    };
    let roots = allowed.iter().filter_map(|root| root.canonicalize().ok());
    if !roots.into_iter().any(|root| real.starts_with(root)) {
        return Err(not_here());
    }
    let address = real.to_str().ok_or_else(not_here)?;
    Ok(Remote::new(address, Transport::Local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Remote, GitError> {
        Remote::parse(text, &[])
    }

    #[test]
    fn usual_addresses_are_accepted() {
        for (text, transport) in [
            ("https://example.com/team/app.git", Transport::Https),
            ("https://example.com:8443/app", Transport::Https),
            ("ssh://git@example.com:2222/app.git", Transport::Ssh),
            ("ssh://[::1]/app.git", Transport::Ssh),
            ("git@example.com:team/app.git", Transport::Ssh),
            ("example.com:app", Transport::Ssh),
        ] {
            let remote = parse(text).unwrap();
            assert_eq!((remote.address(), remote.transport()), (text, transport));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "app",
            "../app",
            "/srv/git/app",
            "file:///srv/git/app",
            "http://example.com/app",
            "git://example.com/app",
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "fd::17",
            "--upload-pack=touch /tmp/x",
            "-oProxyCommand=x:y",
            "ssh://-oProxyCommand=x/y",
            "ssh://-l@example.com/y",
            "ssh://git:password@example.com/y",
            "git@-oProxyCommand=x:y",
            "-l@example.com:y",
            "git@example.com:-y",
            "git@exa mple.com:y",
            "https://example.com/a\nb",
            "https://",
            "user@host@other:y",
        ] {
            assert!(matches!(parse(text), Err(GitError::Refused(_))), "{text:?}");
        }
    }

    #[test]
    fn credentials_leave_the_address_for_a_header() {
        let remote = parse("https://user:p%40ss@example.com/app.git").unwrap();
        assert_eq!(remote.address(), "https://example.com/app.git");
        let header = remote.authorization().unwrap().expose_secret();
        assert_eq!(header, format!("Basic {}", STANDARD.encode("user:p@ss")));
        assert!(!format!("{remote:?}").contains("ss@"));
    }

    #[test]
    fn local_path_is_accepted_only_below_an_allowed_folder() {
        let dir = tempfile::tempdir().unwrap();
        let allowed = dir.path().join("allowed");
        let other = dir.path().join("other");
        std::fs::create_dir_all(allowed.join("app")).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        std::os::unix::fs::symlink(&other, allowed.join("link")).unwrap();
        let parse =
            |path: PathBuf| Remote::parse(path.to_str().unwrap(), std::slice::from_ref(&allowed));

        assert!(parse(allowed.join("app")).is_ok());
        for outside in [
            allowed.join("link"),
            allowed.join("../other"),
            other,
            "/etc".into(),
        ] {
            assert!(parse(outside.clone()).is_err(), "{outside:?}");
        }
    }
}
