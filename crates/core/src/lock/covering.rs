//! What a lock covers, and which one a deployment waits for: pure.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::entity::Model;
use crate::id::{ProjectId, TargetId};

/// What a lock covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every target of every project.
    Everything,
    /// Every target of one project.
    Project(ProjectId),
    /// One target of a project.
    Target(ProjectId, TargetId),
}

impl Scope {
    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Project(_) => "project",
            Self::Target(..) => "target",
        }
    }

    /// Every scope that a target is in, the widest first.
    #[must_use]
    pub fn around(project: ProjectId, target: TargetId) -> [Self; 3] {
        [
            Self::Everything,
            Self::Project(project),
            Self::Target(project, target),
        ]
    }
}

/// The one name that the database knows this scope by.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Project(project) => write!(f, "project:{project}"),
            Self::Target(_, target) => write!(f, "target:{target}"),
        }
    }
}

/// A lock that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it covers.
    pub scope: Scope,
    /// Its row.
    pub row: Model,
    /// The name of the one who locked, if the account still exists.
    pub by: Option<String>,
}

impl Lock {
    /// Puts a row and the name of its maker together.
    #[must_use]
    pub fn new(row: Model, by: Option<String>) -> Self {
        let scope = match (row.project_id, row.target_id) {
            (Some(project), Some(target)) => Scope::Target(project, target),
            (Some(project), None) => Scope::Project(project),
            (None, _) => Scope::Everything,
        };
        Self { scope, row, by }
    }

    /// When it ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.row.expires_us?)
    }

    /// A sentence that says what is locked, why, by whom and until when.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = match self.scope {
            Scope::Everything => "Everything is locked",
            Scope::Project(_) => "The project is locked",
            Scope::Target(..) => "The target is locked",
        };
        let by = self.by.as_ref().map(|name| format!(" by {name}"));
        let until = self.expires_at().map(|moment| {
            let moment = moment.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!(" until {moment}")
        });
        format!(
            "{what}{}{}: {}",
            by.unwrap_or_default(),
            until.unwrap_or_default(),
            self.row.reason
        )
    }
}

/// Every lock that holds now.
#[derive(Clone, Debug, Default)]
pub struct Locks(pub Vec<Lock>);

impl Locks {
    /// The lock that keeps this target's deployments waiting: of several the one that lasts longest,
    /// of those the widest.
    #[must_use]
    pub fn over(&self, project: ProjectId, target: TargetId) -> Option<&Lock> {
        let scopes = Scope::around(project, target);
        let covering = scopes
            .into_iter()
            .filter_map(|scope| self.0.iter().find(|lock| lock.scope == scope));
        // `max_by_key` answers the last of equals, hence the other way round.
        covering
            .rev()
            .max_by_key(|lock| lock.row.expires_us.unwrap_or(i64::MAX))
    }

    /// The lock of exactly this scope.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Option<&Lock> {
        self.0.iter().find(|lock| lock.scope == scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LockId;

    const HOUR: i64 = 3_600_000_000;

    fn lock(scope: Scope, expires_us: Option<i64>) -> Lock {
        let (project_id, target_id) = match scope {
            Scope::Everything => (None, None),
            Scope::Project(project) => (Some(project), None),
            Scope::Target(project, target) => (Some(project), Some(target)),
        };
        let row = Model {
            id: LockId(1),
            covers: scope.to_string(),
            project_id,
            target_id,
            reason: "stocktaking".to_owned(),
            locked_by: None,
            created_at: DateTime::UNIX_EPOCH,
            expires_us,
        };
        Lock::new(row, Some("Ada".to_owned()))
    }

    #[test]
    fn the_longest_lock_of_those_around_a_target_counts() {
        let (project, target) = (ProjectId(1), TargetId(2));
        let [all, ours, exactly] = Scope::around(project, target);
        let over = |locks: &[(Scope, Option<i64>)]| {
            let locks = locks.iter().map(|(scope, end)| lock(*scope, *end));
            let locks = Locks(locks.collect());
            locks.over(project, target).map(|lock| lock.scope)
        };
        assert_eq!(over(&[]), None);
        assert_eq!(over(&[(Scope::Project(ProjectId(2)), None)]), None);
        assert_eq!(over(&[(Scope::Target(project, TargetId(3)), None)]), None);
        assert_eq!(over(&[(all, Some(HOUR)), (exactly, None)]), Some(exactly));
        assert_eq!(
            over(&[(exactly, Some(HOUR)), (ours, Some(1))]),
            Some(exactly)
        );
        assert_eq!(
            over(&[(exactly, None), (ours, None), (all, None)]),
            Some(all)
        );
    }

    #[test]
    fn the_sentence_says_who_why_and_until_when() {
        assert_eq!(
            lock(Scope::Project(ProjectId(1)), Some(HOUR)).sentence(),
            "The project is locked by Ada until 1970-01-01T01:00:00Z: stocktaking"
        );
        let mut forever = lock(Scope::Everything, None);
        forever.by = None;
        assert_eq!(forever.sentence(), "Everything is locked: stocktaking");
    }
}
