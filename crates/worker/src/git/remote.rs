//! How git reaches an accepted repository address. What is accepted is decided by core alone; it is
//! asked again here, because links and the allowed folders of this machine may have changed since.

use std::path::{Path, PathBuf};

use slipway_core::project::repository::RepositoryUrl;

use super::GitError;

/// An address as git is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    address: String,
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Https,
    Ssh,
    Local,
}

impl Remote {
    /// Takes the address of a project.
    ///
    /// # Errors
    /// [`GitError::Refused`] when [`RepositoryUrl`] does not accept it, or a local one is not there.
    pub fn parse(text: &str, local_paths: &[PathBuf]) -> Result<Self, GitError> {
        let url = RepositoryUrl::parse(text, local_paths)
            .map_err(|why| GitError::Refused(format!("its address {why}")))?;
        if url.is_local() {
            return local(Path::new(url.as_str()));
        }
        let scheme = url.as_str().split_once("://").map(|(scheme, _)| scheme);
        let transport = match scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => Transport::Https,
            _ => Transport::Ssh,
        };
        Ok(Self {
            address: url.as_str().to_owned(),
            transport,
        })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is reached over SSH.
    #[must_use]
    pub fn is_ssh(&self) -> bool {
        self.transport == Transport::Ssh
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }
}

/// The path behind all links, so that none of them can lead elsewhere afterwards.
fn local(path: &Path) -> Result<Remote, GitError> {
    let missing = || GitError::Refused(format!("there is no folder {}", path.display()));
    let real = path.canonicalize().ok();
    let address = real.and_then(|path| Some(path.to_str()?.to_owned()));
    Ok(Remote {
        address: address.ok_or_else(missing)?,
        transport: Transport::Local,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_follows_from_the_address() {
        for (text, transport) in [
            ("https://example.com/team/app.git", Transport::Https),
            ("HTTPS://example.com:8443/app", Transport::Https),
            ("ssh://git@example.com:2222/app.git", Transport::Ssh),
            ("ssh://[::1]/app.git", Transport::Ssh),
            ("git@example.com:team/app.git", Transport::Ssh),
        ] {
            let remote = Remote::parse(text, &[]).unwrap();
            assert_eq!((remote.address(), remote.transport()), (text, transport));
        }
    }

    #[test]
    fn what_core_does_not_accept_never_reaches_git() {
        for text in ["", "ext::sh -c id", "http://example.com/a", "/srv/git/app"] {
            let refused = Remote::parse(text, &[]).unwrap_err();
            assert!(matches!(refused, GitError::Refused(_)), "{text:?}");
        }
    }

    #[test]
    fn local_path_is_asked_about_again_and_taken_behind_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (allowed, app) = (root.join("allowed"), root.join("allowed/app"));
        let link = allowed.join("link");
        std::fs::create_dir_all(&app).unwrap();
        std::os::unix::fs::symlink(&app, &link).unwrap();
        let parse = || Remote::parse(link.to_str().unwrap(), std::slice::from_ref(&allowed));

        assert_eq!(parse().unwrap().address(), app.to_str().unwrap());
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        assert!(parse().is_err());
        std::fs::remove_file(&link).unwrap();
        let missing = GitError::Refused(format!("there is no folder {}", link.display()));
        assert_eq!(parse(), Err(missing));
    }
}
