//! Makes a release the live one, in one step that either happened or did not.

use std::io;

use rustix::fs::FileType;
use slipway_core::fail;

use super::{
    ReleaseError, Releases, Ticket,
    layout::{CURRENT, sync},
    tree,
};

/// The record of the last switch: which release, and which one was live before.
const ACTIVATION: &str = "activation";

/// What an activation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The release is live now.
    Switched {
        /// What was live before; `None` if nothing of ours was.
        previous: Option<i64>,
    },
    /// It was live already, as after a crash that followed the switch.
    AlreadyActive {
        /// What was live before it, as far as it is known.
        previous: Option<i64>,
    },
}

impl Releases {
    /// Makes `release` live. It is the ticket's own one, or an older one to go back to.
    ///
    /// # Errors
    /// [`ReleaseError::StaleFence`] if someone newer holds the target, [`ReleaseError::TooLate`] if
    /// the run's time is over: another release was not made live.
    pub fn activate(&self, ticket: &Ticket, release: i64) -> Result<Activation, ReleaseError> {
        let _guard = self.enter(ticket)?;
        let active = self.active()?;
        if active == Some(release) {
            return Ok(Activation::AlreadyActive {
                previous: self.recorded_previous(release)?,
            });
        }
        self.switch(release, active)?;
        Ok(Activation::Switched { previous: active })
    }

    /// Puts the release back that was live before a deployment that turned out bad.
    ///
    /// # Errors
    /// Like [`Releases::activate`].
    pub fn restore(&self, ticket: &Ticket, previous: i64) -> Result<(), ReleaseError> {
        let _guard = self.enter(ticket)?;
        if self.active()? == Some(previous) {
            return Ok(());
        }
        self.switch(previous, None)
    }

    fn switch(&self, release: i64, previous: Option<i64>) -> Result<(), ReleaseError> {
        self.open_release(release)?;
        let present =
            tree::kind(&self.base, CURRENT.as_ref()).map_err(ReleaseError::io(CURRENT))?;
        if present.is_some_and(|kind| kind != FileType::Symlink) {
            return Err(ReleaseError::Refused(format!(
                "{CURRENT} is not a link; move it away so that it can become one"
            )));
        }
        let before = previous.map_or_else(|| "-".to_owned(), |previous| previous.to_string());
        self.record(ACTIVATION, &format!("{release} {before}\n"))?;
        fail::point("run.within_switch");
        self.draft_link(release)
            .map_err(ReleaseError::io(CURRENT))?;
        // Once more, as late as can be: whoever is refused here leaves what a crash would leave.
        self.deadline.check()?;
        self.replace_link().map_err(ReleaseError::io(CURRENT))
    }

    fn draft_link(&self, release: i64) -> io::Result<()> {
        tree::remove(&self.state, CURRENT.as_ref())?;
        // It points to nothing from here; it is written for the place that it is moved to.
        self.state
            .symlink_contents(format!("releases/{release}"), CURRENT)
    }

    fn replace_link(&self) -> io::Result<()> {
        self.state.rename(CURRENT, &self.base, CURRENT)?;
        sync(&self.base)
    }

    fn recorded_previous(&self, release: i64) -> Result<Option<i64>, ReleaseError> {
        let record = self.recorded(ACTIVATION)?.unwrap_or_default();
        let (switched, previous) = record.trim_end().split_once(' ').unwrap_or_default();
        let is_this = switched == release.to_string();
        Ok(previous.parse().ok().filter(|_| is_this))
    }
}
