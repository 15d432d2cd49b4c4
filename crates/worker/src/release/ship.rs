//! Puts a build's files into a release folder of their own.

use std::path::{Component, Path, PathBuf};

use cap_std::{ambient_authority, fs::Dir};
use rustix::fs::Mode;

use super::{ReleaseError, Releases, Ticket, layout::sync, tree};

impl Releases {
    /// Copies `artifact` (a folder within `source`; default all of it) into the ticket's release.
    ///
    /// The release appears in one step, complete. One of the same deployment that is there from an
    /// earlier run is replaced.
    ///
    /// # Errors
    /// [`ReleaseError::Live`] if that release is live, [`ReleaseError::Refused`] if the artifact is
    /// not a folder within `source`.
    pub fn ship(
        &self,
        ticket: &Ticket,
        source: &Path,
        artifact: Option<&str>,
    ) -> Result<PathBuf, ReleaseError> {
        let _guard = self.enter(ticket)?;
        let release = ticket.deployment;
        if self.active()? == Some(release) {
            return Err(ReleaseError::Live(release));
        }
        let from = artifact_dir(source, artifact)?;
        let partial = format!("{release}.partial");
        let context = || ReleaseError::io(format!("releases/{partial}"));
        tree::remove(&self.releases, partial.as_ref()).map_err(context())?;
        let to = tree::open_or_create(&self.releases, partial.as_ref()).map_err(context())?;
        tree::copy_content(&from, &to).map_err(context())?;
        // The build's folder is private to the worker; a release is for whoever serves it.
        rustix::fs::fchmod(&to, Mode::from_raw_mode(0o755)).map_err(ReleaseError::io(&partial))?;

        let name = release.to_string();
        self.discard(release)?;
        self.releases
            .rename(&partial, &self.releases, &name)
            .and_then(|()| sync(&self.releases))
            .map_err(ReleaseError::io(format!("releases/{name}")))?;
        Ok(self.release_path(release))
    }
}

fn artifact_dir(source: &Path, artifact: Option<&str>) -> Result<Dir, ReleaseError> {
    let source = Dir::open_ambient_dir(source, ambient_authority())
        .map_err(ReleaseError::io(source.display().to_string()))?;
    let Some(artifact) = artifact else {
        return Ok(source);
    };
    let is_below = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(artifact).components().all(is_below) {
        return Err(ReleaseError::Refused(format!(
            "the artifact {artifact} is not in the checkout"
        )));
    }
    // Links within the checkout are followed, as builds make them; none leads out of it.
    source.open_dir(artifact).map_err(|error| {
        ReleaseError::Refused(format!(
            "the artifact {artifact} is not a folder of the checkout: {error}"
        ))
    })
}
