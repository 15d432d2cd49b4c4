//! Typed row ids.
//!
//! All of them are 64-bit integers given by the database in rising order; a deployment's id is
//! also its place in the queue. The types exist so that one table's id cannot be handed to another.

use std::{fmt, num::ParseIntError, str::FromStr};

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, DeriveValueType, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// A person or service that signs in.
    UserId,
    /// One signed-in browser.
    SessionId,
    /// One API token.
    TokenId,
    /// A project.
    ProjectId,
    /// One user's role in one project.
    MembershipId,
    /// An encrypted value of any kind.
    SealedId,
    /// An SSH key pair.
    SshKeyId,
    /// A server's host key.
    HostKeyId,
    /// A place that deployments go to.
    TargetId,
    /// A plain value that steps receive.
    VariableId,
    /// An encrypted value that steps receive.
    SecretId,
    /// One request to bring a commit to a target; also its place in the queue.
    DeploymentId,
    /// One step of one run of a deployment.
    StepId,
    /// One release folder on a target.
    ReleaseId,
    /// One lock on a target, a project or everything.
    LockId,
    /// One process that runs.
    ProcessId,
    /// One line of the audit trail.
    AuditId,
    /// A service that carries messages.
    ProviderId,
    /// A place within a provider.
    ChannelId,
    /// Which events of a project go to which channels.
    SubscriptionId,
    /// One event that somebody is told of.
    NoticeId,
    /// One message for one channel.
    DeliveryId,
}
