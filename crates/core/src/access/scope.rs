//! What an API token is good for: less than its owner, never more.

use serde::{Deserialize, Serialize};

use super::Permission;
use crate::{id::ProjectId, word::words};

words! {
    /// A part of what a token may do. Each of them includes seeing.
    TokenScope {
        /// See.
        Read = "read",
        /// Deploy, retry, cancel, roll back, approve.
        Deploy = "deploy",
        /// Create projects, change pipelines, targets, variables, secrets and triggers.
        Configure = "configure",
        /// Everything that the owner may.
        Admin = "admin",
    }
}

/// The limits of a token. Nothing here gives a right: the owner must have it at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What it may do.
    pub scopes: Vec<TokenScope>,
    /// In which projects only; none means all, and what belongs to no project.
    pub projects: Option<Vec<ProjectId>>,
}

impl Limits {
    /// No limits.
    #[must_use]
    pub fn none() -> Self {
        Self {
            scopes: vec![TokenScope::Admin],
            projects: None,
        }
    }

    /// Whether there are no limits.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.projects.is_none() && self.scopes.contains(&TokenScope::Admin)
    }

    /// Whether the limits leave this; `project` is the one that the question is about.
    #[must_use]
    pub fn allow(&self, permission: Permission, project: Option<ProjectId>) -> bool {
        let is_inside = match (&self.projects, project) {
            (None, _) => true,
            (Some(only), Some(project)) => only.contains(&project),
            (Some(_), None) => false,
        };
        is_inside && self.scopes.iter().any(|scope| covers(*scope, permission))
    }
}

fn covers(scope: TokenScope, permission: Permission) -> bool {
    use Permission as P;
    match permission {
        P::ViewProject | P::Observe => true,
        P::Deploy | P::ApproveDeployment => {
            matches!(scope, TokenScope::Deploy | TokenScope::Admin)
        }
        P::CreateProject | P::ConfigureProject => {
            matches!(scope, TokenScope::Configure | TokenScope::Admin)
        }
        P::GovernProject | P::DeleteProject | P::Operate | P::Administer => {
            scope == TokenScope::Admin
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_leaves_what_it_is_for() {
        let mut table = String::new();
        for permission in Permission::ALL {
            for scope in TokenScope::ALL {
                table.push(if covers(scope, permission) { 'y' } else { '-' });
            }
            table.push_str(&format!(" {permission}\n"));
        }
        insta::assert_snapshot!(table, @r"
        yyyy view the project
        --yy create a project
        -y-y deploy
        --yy change the project's configuration
        -y-y approve a deployment
        ---y change the project's members and locks
        ---y delete the project
        yyyy see the queue, the workers and the audit trail
        ---y operate Slipway
        ---y administer Slipway
        ");
    }

    #[test]
    fn a_token_for_some_projects_reaches_nothing_else() {
        let limits = Limits {
            scopes: vec![TokenScope::Admin],
            projects: Some(vec![ProjectId(3)]),
        };
        assert!(limits.allow(Permission::DeleteProject, Some(ProjectId(3))));
        assert!(!limits.allow(Permission::ViewProject, Some(ProjectId(4))));
        assert!(!limits.allow(Permission::Observe, None));
        assert!(!limits.allow(Permission::CreateProject, None));
        assert!(!limits.is_none() && Limits::none().is_none());
    }
}
