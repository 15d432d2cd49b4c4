//! Brings the exact commit of a project onto this machine, through the git command line.
//!
//! A repository's content is not trusted: no hook, filter, helper or submodule of it runs while
//! it is fetched and checked out. Its address is not trusted either: only https and ssh, and
//! local paths where the installation allows them. There is no shell in between.

mod agent;
mod checkout;
mod command;
mod mirror;
mod remote;
mod run;

pub use checkout::{Checkout, GitStore, Reach, Request};
pub use command::{Options, Ssh};
pub use remote::Remote;

/// Why there is no checkout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// The other side does not answer, or not in time; it may do so later.
    #[error("the repository cannot be reached: {0}")]
    Unreachable(String),
    /// There is no such branch, tag or commit.
    #[error("the repository has no branch, tag or full commit id {0:?}")]
    UnknownRef(String),
    /// The other side says no, or its address is not one we accept; trying again is no use.
    #[error("the repository was refused: {0}")]
    Refused(String),
    /// Git itself failed.
    #[error("git failed: {0}")]
    Failed(String),
    /// The caller asked for it.
    #[error("the checkout was cancelled")]
    Cancelled,
}

#[cfg(test)]
mod tests;
