//! The person who acts, with the role they hold at this moment.

use std::sync::Arc;

use super::{Limits, Permission, ProjectRole, SystemRole, allows};
use crate::{
    error::{Error, Result},
    id::{ProjectId, SessionId, TokenId, UserId},
};

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A browser's session cookie.
    Session(SessionId),
    /// An API token.
    Token(TokenId),
    /// The command line on the machine itself, which can read the database anyway.
    Console,
}

/// Who acts. Read from the database on each request, so a changed role counts at once.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account.
    pub user: UserId,
    /// Its e-mail address.
    pub email: String,
    /// The name to show.
    pub name: String,
    /// The role in the whole system.
    pub role: SystemRole,
    /// The address that they act from; empty on the machine itself.
    pub address: String,
    /// How they signed in.
    pub credential: Credential,
    /// What their token is restricted to.
    pub limits: Option<Arc<Limits>>,
}

/// A project and what somebody is in it.
pub type Standing = (ProjectId, Option<ProjectRole>);

impl Actor {
    /// Whether roles and token allow it; questions about the system itself name no project.
    #[must_use]
    pub fn may(&self, permission: Permission, at: Option<Standing>) -> bool {
        self.require(permission, at).is_ok()
    }

    /// Refuses what the roles, or the token, do not allow.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::TokenLimited`].
    pub fn require(&self, permission: Permission, at: Option<Standing>) -> Result<()> {
        let (project, role) = at.map_or((None, None), |(project, role)| (Some(project), role));
        if !allows(self.role, role, permission) {
            return Err(Error::Forbidden(permission));
        }
        match &self.limits {
            Some(limits) if !limits.allow(permission, project) => Err(Error::TokenLimited),
            _ => Ok(()),
        }
    }

    /// Refuses a token with limits: it must not make itself another one without them.
    ///
    /// # Errors
    /// [`Error::TokenLimited`].
    pub fn require_unlimited(&self) -> Result<()> {
        match &self.limits {
            Some(limits) if !limits.is_none() => Err(Error::TokenLimited),
            _ => Ok(()),
        }
    }
}
