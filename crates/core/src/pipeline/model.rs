//! What a pipeline document says, as types.
//!
//! The serialised form is the snapshot that a deployment keeps of what it ran. Every default is
//! written into it, so that an old deployment keeps its meaning when a default changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{condition::Condition, duration};

/// What a deployment does, in order: build, ship, release, activate, after, health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Plain values that every step receives.
    pub env: BTreeMap<String, String>,
    /// Steps on the worker, in a fresh checkout.
    pub build: Vec<Step>,
    /// Folder or file of the checkout that is shipped; all of it otherwise.
    pub artifact: Option<String>,
    /// Steps on the hosts, in the new release folder, before it is live.
    pub release: Vec<Step>,
    /// How the new release goes live.
    pub activate: Activate,
    /// Steps on the hosts once the release is live.
    pub after: Vec<Step>,
    /// How to tell that the release works.
    pub health: Option<Health>,
    /// Whether a failed health check puts the previous release back.
    pub rollback_on_failure: bool,
    /// Whether a section was written that only makes sense with a release. Kept because a
    /// written `activate` may hold nothing but defaults.
    pub(super) ships: bool,
}

impl Pipeline {
    /// Every step in the order of running.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.build.iter().chain(&self.release).chain(&self.after)
    }

    /// Whether a commit is checked out and shipped as a release.
    ///
    /// It is unless the document has `after` steps only: those run a script on the target. A
    /// written `activate`, even an empty one, asks for a release without any build.
    #[must_use]
    pub fn needs_checkout(&self) -> bool {
        self.ships
    }

    /// Names of the secrets that the steps ask for; none when some step takes all there are.
    #[must_use]
    pub fn secret_names(&self) -> Option<BTreeSet<&str>> {
        let mut names = BTreeSet::new();
        for step in self.steps() {
            names.extend(step.secrets.as_ref()?.iter().map(String::as_str));
        }
        Some(names)
    }
}

/// One command of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Name, unique in the document.
    pub name: String,
    /// Shell text.
    pub run: String,
    /// Longest time it may run.
    #[serde(with = "duration::stored")]
    pub timeout: Duration,
    /// Longest time it may run without output.
    #[serde(with = "duration::stored_option")]
    pub idle_timeout: Option<Duration>,
    /// Plain values for this step only; they win over the document's.
    pub env: BTreeMap<String, String>,
    /// Names of the secrets it receives; all of them otherwise.
    pub secrets: Option<Vec<String>>,
    /// Whether to run it at all.
    pub when: Option<Condition>,
    /// What its failure means.
    pub on_failure: OnFailure,
    /// Where it runs; in `build` this has no meaning.
    pub on: Hosts,
}

impl Step {
    /// Longest time of a step that sets none.
    pub const TIMEOUT: Duration = Duration::from_secs(10 * 60);
    /// Longest time that a step can set.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
}

/// What the failure of a step means for the deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The deployment fails.
    #[default]
    Fail,
    /// The next step runs.
    Continue,
}

/// Which hosts of the target run a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    /// All of them.
    #[default]
    Every,
    /// The first one only.
    First,
}

/// How a new release goes live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activate {
    /// Releases to keep.
    pub keep: u32,
    /// Paths that all releases share.
    pub shared: Vec<String>,
}

impl Default for Activate {
    fn default() -> Self {
        Self {
            keep: 5,
            shared: Vec::new(),
        }
    }
}

/// How to tell that a release works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Address to ask.
    pub url: String,
    /// Status code of a right answer.
    pub expect: u16,
    /// Most requests before the check has failed.
    pub attempts: u32,
    /// Wait between requests.
    #[serde(with = "duration::stored")]
    pub interval: Duration,
    /// Longest wait for one answer.
    #[serde(with = "duration::stored")]
    pub timeout: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            url: String::new(),
            expect: 200,
            attempts: 10,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
        }
    }
}
