//! The things that a role may or may not allow.

use std::fmt;

/// One row of the permission table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See a project, its deployments, logs and configuration.
    ViewProject,
    /// Create a project.
    CreateProject,
    /// Deploy, retry, cancel, roll back.
    Deploy,
    /// Change pipeline, targets, variables, secrets, triggers.
    ConfigureProject,
    /// Approve somebody else's protected deployment.
    ApproveDeployment,
    /// Lock a project, change its subscriptions and members.
    GovernProject,
    /// Delete a project.
    DeleteProject,
    /// See the queue, the workers and the whole audit trail.
    Observe,
    /// Channels.
    Operate,
    /// Users, roles, providers, keys, the global lock.
    Administer,
}

impl Permission {
    /// Every permission, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::ViewProject,
        Self::CreateProject,
        Self::Deploy,
        Self::ConfigureProject,
        Self::ApproveDeployment,
        Self::GovernProject,
        Self::DeleteProject,
        Self::Observe,
        Self::Operate,
        Self::Administer,
    ];

    /// A short name for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ViewProject => "view the project",
            Self::CreateProject => "create a project",
            Self::Deploy => "deploy",
            Self::ConfigureProject => "change the project's configuration",
            Self::ApproveDeployment => "approve a deployment",
            Self::GovernProject => "change the project's members and locks",
            Self::DeleteProject => "delete the project",
            Self::Observe => "see the queue, the workers and the audit trail",
            Self::Operate => "operate Slipway",
            Self::Administer => "administer Slipway",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
