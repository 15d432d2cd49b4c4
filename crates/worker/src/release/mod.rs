//! Release folders on a target of this machine: one a deployment, and the link that says which
//! one is live.
//!
//! ```text
//! <path>/releases/<deployment id>   <path>/shared   <path>/current -> releases/<id>
//! ```
//!
//! A release's content is not trusted: no link in it leads anything here out of `<path>`. Every
//! change is made under a lock and only by the newest holder of the target, told by its fence; a
//! worker that lost the target and does not know it yet is refused, as is a run past its deadline. All
//! calls block.

mod activate;
mod deadline;
mod layout;
mod prune;
mod receipt;
mod shared;
mod ship;
mod tree;

use std::io;

pub use activate::Activation;
pub use deadline::Deadline;
pub use layout::Releases;
pub use prune::Pruned;
pub use receipt::{Begun, Identity, Receipt};

/// Who changes a target: the deployment and the fence under which it holds the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Rises with every deployment that gets hold of the target.
    pub fence: i64,
    /// The deployment.
    pub deployment: i64,
}

/// Why a target was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Someone newer holds the target; whoever gets this must stop.
    #[error("the target is held by deployment {} under fence {}", .0.deployment, .0.fence)]
    StaleFence(Ticket),
    /// The run may not be the target's any more by now; whoever gets this must stop.
    #[error("the run's time is over")]
    TooLate,
    /// Someone else is changing the target right now and does not come to an end.
    #[error("the target's folder is locked by another process")]
    Locked,
    /// The release is live and cannot be replaced.
    #[error("release {0} is live")]
    Live(i64),
    /// There is no such release.
    #[error("there is no release {0}")]
    NoRelease(i64),
    /// The release or the request reaches for something it must not.
    #[error("{0}")]
    Refused(String),
    /// The folder's own records cannot be understood.
    #[error("{0} is damaged; remove it after checking which release is live")]
    Damaged(&'static str),
    /// The file system says no.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl ReleaseError {
    /// Gives an error of the file system its context.
    pub(crate) fn io<E: Into<io::Error>>(context: impl Into<String>) -> impl FnOnce(E) -> Self {
        let context = context.into();
        move |error| Self::Io {
            context,
            source: error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
