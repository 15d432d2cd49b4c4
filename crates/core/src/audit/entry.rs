//! What an entry says: who, from where, with what, did what to which thing.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    access::{Actor, Credential},
    id::{ProjectId, TargetId, UserId},
    word::words,
};

words! {
    /// What was done.
    Action {
        /// Somebody signed in.
        SignIn = "session.begin",
        /// Somebody signed out.
        SignOut = "session.end",
        /// A session was ended from elsewhere.
        SessionRevoke = "session.revoke",
        /// Signing in to an account was slowed down after wrong passwords.
        SignInThrottle = "session.throttle",
        /// An API token was made.
        TokenCreate = "token.create",
        /// An API token was revoked.
        TokenRevoke = "token.revoke",
        /// An account was made.
        UserCreate = "user.create",
        /// An account was changed.
        UserUpdate = "user.update",
        /// A link to set a first or a new password was made.
        UserInvite = "user.invite",
        /// A password was changed by its owner.
        PasswordChange = "password.change",
        /// A password was replaced by somebody else, or by a link.
        PasswordReset = "password.reset",
        /// A second factor was switched on.
        FactorEnable = "factor.enable",
        /// A second factor was switched off.
        FactorDisable = "factor.disable",
        /// Somebody else's second factor was removed.
        FactorRemove = "factor.remove",
        /// A recovery code was used in the place of a second factor.
        RecoveryCodeUse = "factor.recover",
        /// New recovery codes replaced the old ones.
        RecoveryCodesRenew = "factor.renew_codes",
        /// Somebody of the identity provider was given an account.
        IdentityLink = "identity.link",
        /// A project was made.
        ProjectCreate = "project.create",
        /// A project was changed.
        ProjectUpdate = "project.update",
        /// A project was deleted.
        ProjectDelete = "project.delete",
        /// A pipeline was replaced.
        PipelineUpdate = "pipeline.update",
        /// Somebody was given a role in a project.
        MemberSet = "member.set",
        /// A membership was ended.
        MemberRemove = "member.remove",
        /// A target was made.
        TargetCreate = "target.create",
        /// A target was changed.
        TargetUpdate = "target.update",
        /// A target was deleted.
        TargetDelete = "target.delete",
        /// A variable was written.
        VariableSet = "variable.set",
        /// A variable was deleted.
        VariableDelete = "variable.delete",
        /// A secret was written.
        SecretSet = "secret.set",
        /// A secret was deleted.
        SecretDelete = "secret.delete",
        /// Old values of a secret were destroyed.
        SecretDestroy = "secret.destroy",
        /// A run was given secrets.
        SecretUse = "secret.use",
        /// A run was refused a secret that somebody had altered.
        SecretAltered = "secret.altered",
        /// A version of the master key was made.
        KeyAdd = "key.add",
        /// A version of the master key became the active one.
        KeyActivate = "key.activate",
        /// Values were moved to the active master key.
        KeyRewrap = "key.rewrap",
        /// A version of the master key was taken out of use.
        KeyRetire = "key.retire",
        /// An SSH key pair was made.
        SshKeyCreate = "ssh_key.create",
        /// An SSH key pair was deleted.
        SshKeyDelete = "ssh_key.delete",
        /// A server's host key was accepted.
        HostKeyAdd = "host_key.add",
        /// A server's host key is not accepted any more.
        HostKeyRemove = "host_key.remove",
        /// Something was locked.
        LockSet = "lock.set",
        /// A lock was lifted.
        LockLift = "lock.lift",
        /// A deployment was asked for.
        DeploymentCreate = "deployment.create",
        /// A deployment was asked for again.
        DeploymentRetry = "deployment.retry",
        /// A deployment was cancelled.
        DeploymentCancel = "deployment.cancel",
        /// A provider of notifications was set up.
        ProviderCreate = "provider.create",
        /// A provider of notifications was changed.
        ProviderUpdate = "provider.update",
        /// A provider of notifications was deleted.
        ProviderDelete = "provider.delete",
        /// A channel was set up.
        ChannelCreate = "channel.create",
        /// A channel was changed.
        ChannelUpdate = "channel.update",
        /// A channel was deleted.
        ChannelDelete = "channel.delete",
        /// A channel was tried.
        ChannelTest = "channel.test",
        /// A project subscribed to something.
        SubscriptionCreate = "subscription.create",
        /// A subscription was changed or muted.
        SubscriptionUpdate = "subscription.update",
        /// A subscription was deleted.
        SubscriptionDelete = "subscription.delete",
        /// A message was sent once more.
        DeliveryResend = "delivery.resend",
        /// Old entries of the trail were removed.
        AuditPrune = "audit.prune",
    }
}

words! {
    /// What kind of thing it was done to.
    ObjectKind {
        /// A sign-in.
        Session = "session",
        /// An API token.
        Token = "token",
        /// An account.
        User = "user",
        /// A project.
        Project = "project",
        /// A target.
        Target = "target",
        /// A variable.
        Variable = "variable",
        /// A secret.
        Secret = "secret",
        /// A version of the master key.
        Key = "key",
        /// An SSH key pair.
        SshKey = "ssh_key",
        /// A server's host key.
        HostKey = "host_key",
        /// A lock.
        Lock = "lock",
        /// A deployment.
        Deployment = "deployment",
        /// A provider of notifications.
        Provider = "provider",
        /// A channel.
        Channel = "channel",
        /// A subscription.
        Subscription = "subscription",
        /// A message for one channel.
        Delivery = "delivery",
        /// The audit trail.
        Audit = "audit",
    }
}

/// One change, to be recorded in its transaction.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) at: DateTime<Utc>,
    pub(super) actor_id: Option<UserId>,
    pub(super) actor: String,
    pub(super) role: &'static str,
    pub(super) address: String,
    pub(super) credential: &'static str,
    pub(super) credential_id: Option<i64>,
    pub(super) action: Action,
    pub(super) object_kind: ObjectKind,
    pub(super) object_id: Option<i64>,
    pub(super) object: String,
    pub(super) project: Option<ProjectId>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Entry {
    /// Something that a person did.
    #[must_use]
    pub fn by(actor: &Actor, action: Action, now: DateTime<Utc>) -> Self {
        let (credential, credential_id) = match actor.credential {
            Credential::Session(id) => ("session", Some(id.0)),
            Credential::Token(id) => ("token", Some(id.0)),
            Credential::Console => ("console", None),
        };
        Self {
            actor_id: Some(actor.user),
            actor: actor.email.clone(),
            role: actor.role.as_str(),
            address: actor.address.clone(),
            credential,
            credential_id,
            ..Self::by_system(action, now)
        }
    }

    /// Something that Slipway did by itself, or that somebody did who is not signed in.
    #[must_use]
    pub fn by_system(action: Action, now: DateTime<Utc>) -> Self {
        Self {
            at: now,
            actor_id: None,
            actor: String::new(),
            role: "",
            address: String::new(),
            credential: "system",
            credential_id: None,
            action,
            object_kind: ObjectKind::Audit,
            object_id: None,
            object: String::new(),
            project: None,
            before: None,
            after: None,
        }
    }

    /// Something that whoever holds the machine did on its command line.
    #[must_use]
    pub fn by_console(action: Action, now: DateTime<Utc>) -> Self {
        Self {
            credential: "console",
            ..Self::by_system(action, now)
        }
    }

    /// The same by the same people, but something else.
    #[must_use]
    pub fn doing(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    /// When it was done.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// Who did it, if it was a person.
    #[must_use]
    pub fn actor_id(&self) -> Option<UserId> {
        self.actor_id
    }

    /// From where, for somebody who is not signed in.
    #[must_use]
    pub fn from_address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// What it was done to. The name stays when the thing is gone.
    #[must_use]
    pub fn on(mut self, kind: ObjectKind, id: impl Into<Option<i64>>, name: &str) -> Self {
        self.object_kind = kind;
        self.object_id = id.into();
        name.clone_into(&mut self.object);
        self
    }

    /// The project that it belongs to.
    #[must_use]
    pub fn in_project(mut self, project: ProjectId) -> Self {
        self.project = Some(project);
        self
    }

    /// Something of a project or of one of its targets that has a name and a value. The value is left
    /// out: people put secrets into variables by mistake, and the trail is kept for long.
    #[must_use]
    pub fn on_value(
        self,
        kind: ObjectKind,
        (project, target): (ProjectId, Option<TargetId>),
        name: &str,
    ) -> Self {
        self.on(kind, None, name)
            .in_project(project)
            .after(&serde_json::json!({ "target_id": target }))
    }

    /// How the thing was before. It must not hold a secret.
    #[must_use]
    pub fn before(mut self, state: &Value) -> Self {
        self.before = Some(state.to_string());
        self
    }

    /// How the thing is now. It must not hold a secret.
    #[must_use]
    pub fn after(mut self, state: &Value) -> Self {
        self.after = Some(state.to_string());
        self
    }

    /// Both, without the fields that stayed the same.
    #[must_use]
    pub fn changed(self, before: &Value, after: &Value) -> Self {
        let (before, after) = different(before, after);
        self.before(&before).after(&after)
    }
}

fn different(before: &Value, after: &Value) -> (Value, Value) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before.clone(), after.clone());
    };
    let only = |one: &Map<String, Value>, other: &Map<String, Value>| {
        let changed = one
            .iter()
            .filter(|(name, value)| other.get(*name) != Some(value));
        Value::Object(
            changed
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    (only(old, new), only(new, old))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let before = json!({"slug": "web", "name": "Web", "branch": "main"});
        let after = json!({"slug": "web", "name": "Site", "branch": "main", "note": 1});
        let (old, new) = different(&before, &after);
        assert_eq!(old, json!({"name": "Web"}));
        assert_eq!(new, json!({"name": "Site", "note": 1}));
    }

    #[test]
    fn every_word_fits_its_column() {
        assert!(Action::ALL.iter().all(|action| action.as_str().len() <= 48));
        assert!(ObjectKind::ALL.iter().all(|kind| kind.as_str().len() <= 24));
    }
}
