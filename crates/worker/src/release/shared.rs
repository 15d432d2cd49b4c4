//! Links what outlives a release, such as uploads and local settings, into it.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
};

use cap_std::fs::Dir;
use rustix::{fs::FileType, io::Errno};

use super::{ReleaseError, Releases, Ticket, tree};

/// Where something is copied to before it gets its place in `shared`.
const INCOMING: &str = "incoming";

impl Releases {
    /// Replaces each of `paths` in the ticket's release with a link into `shared`.
    ///
    /// What `shared` does not have yet is taken from the release. If the release has none either, a
    /// folder is made, unless the name has a dot in it: then somebody has to provide the file, and
    /// until then the link leads nowhere.
    ///
    /// # Errors
    /// [`ReleaseError::Refused`] for a path that leaves the release, by `..` or through a link.
    pub fn link_shared(&self, ticket: &Ticket, paths: &[String]) -> Result<(), ReleaseError> {
        let _guard = self.enter(ticket)?;
        let paths: Vec<_> = paths
            .iter()
            .map(|path| parse(path))
            .collect::<Result<_, _>>()?;
        check_nesting(&paths)?;
        let release = self.open_release(ticket.deployment)?;
        paths
            .iter()
            .try_for_each(|path| self.link_one(&release, path))
    }

    fn link_one(&self, release: &Dir, path: &[OsString]) -> Result<(), ReleaseError> {
        let Some((name, parents)) = path.split_last() else {
            return Ok(());
        };
        let shown = shown(path);
        let context = || ReleaseError::io(shown.clone());
        let in_release = walk(release, parents, &shown)?;
        // Relative, so that the whole target can be moved or seen from within a container.
        let link = format!("{}shared/{shown}", "../".repeat(path.len() + 1));
        let present = tree::kind(&in_release, name).map_err(context())?;
        if present == Some(FileType::Symlink)
            && in_release
                .read_link_contents(name)
                .is_ok_and(|found| found == Path::new(&link))
        {
            return Ok(());
        }
        let in_shared = walk(&self.shared, parents, &shown)?;
        if tree::kind(&in_shared, name).map_err(context())?.is_none() {
            match present {
                Some(FileType::Symlink) => {
                    return Err(ReleaseError::Refused(format!(
                        "{shown} is a link in the release, so it cannot become shared"
                    )));
                }
                Some(_) => self
                    .adopt(&in_release, &in_shared, name)
                    .map_err(context())?,
                None if !name.to_string_lossy().contains('.') => {
                    in_shared.create_dir(name).map_err(context())?;
                }
                None => {}
            }
        }
        tree::remove(&in_release, name).map_err(context())?;
        in_release.symlink_contents(link, name).map_err(context())
    }

    /// Copies the first release's content to `shared`, where it appears in one step.
    fn adopt(&self, from: &Dir, to: &Dir, name: &OsStr) -> io::Result<()> {
        tree::remove(&self.state, INCOMING.as_ref())?;
        tree::copy(from, name, &self.state, INCOMING.as_ref())?;
        self.state.rename(INCOMING, to, name)
    }
}

fn shown(path: &[OsString]) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

fn parse(path: &str) -> Result<Vec<OsString>, ReleaseError> {
    let parts = Path::new(path).components().map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            None
        }
    });
    let parts: Option<Vec<_>> = parts.collect();
    parts
        .filter(|parts| !parts.is_empty())
        .ok_or_else(|| ReleaseError::Refused(format!("{path:?} is not a path within the release")))
}

/// A shared path within another one would be a link within a link.
fn check_nesting(paths: &[Vec<OsString>]) -> Result<(), ReleaseError> {
    for (index, outer) in paths.iter().enumerate() {
        for (other, inner) in paths.iter().enumerate() {
            if index != other && inner.starts_with(outer) {
                return Err(ReleaseError::Refused(format!(
                    "{} is already shared by {}",
                    shown(inner),
                    shown(outer)
                )));
            }
        }
    }
    Ok(())
}

/// Goes down, making what is missing; a link on the way is refused wherever it leads.
fn walk(dir: &Dir, parents: &[OsString], shown: &str) -> Result<Dir, ReleaseError> {
    let mut dir = dir.try_clone().map_err(ReleaseError::io(shown))?;
    for name in parents {
        dir = tree::open_or_create(&dir, name).map_err(|error| {
            match Errno::from_io_error(&error) {
                Some(Errno::LOOP | Errno::NOTDIR) => ReleaseError::Refused(format!(
                    "{shown} leads through {}, which is a link or a file",
                    name.to_string_lossy()
                )),
                _ => ReleaseError::io(shown)(error),
            }
        })?;
    }
    Ok(dir)
}
