//! The person who acts, with the role they hold at this moment.

use super::{Permission, ProjectRole, SystemRole, allows};
use crate::{
    error::{Error, Result},
    id::{SessionId, TokenId, UserId},
};

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Actor {
    /// Refuses what the roles do not allow.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, permission: Permission, project: Option<ProjectRole>) -> Result<()> {
        if allows(self.role, project, permission) {
            Ok(())
        } else {
            Err(Error::Forbidden(permission))
        }
    }
}
