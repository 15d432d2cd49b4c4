//! A deployment as tables and cards show it: one line, with its state as a badge.

use askama::{Template, filters::HtmlSafe};
use chrono::{DateTime, Utc};
use slipway_core::{
    deployment::{service::Detail, status::Status, step::StepStatus, trigger::Trigger},
    id::DeploymentId,
};

use super::moment::{Elapsed, Moment};

/// A state, as a colour and a word.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "parts/badge.html")]
pub(super) struct Badge {
    class: &'static str,
    label: &'static str,
}

// Its template escapes what it shows.
impl HtmlSafe for Badge {}

impl Badge {
    pub(super) fn new(class: &'static str, label: &'static str) -> Self {
        Self { class, label }
    }
}

impl From<Status> for Badge {
    fn from(status: Status) -> Self {
        Self::new(status.as_str(), label(status))
    }
}

/// A state's name for people.
pub(super) fn label(status: Status) -> &'static str {
    match status {
        Status::AwaitingApproval => "Awaiting approval",
        Status::Queued => "Queued",
        Status::Running => "Running",
        Status::Succeeded => "Succeeded",
        Status::Failed => "Failed",
        Status::Cancelled => "Cancelled",
        Status::Superseded => "Superseded",
    }
}

impl From<StepStatus> for Badge {
    fn from(status: StepStatus) -> Self {
        let label = match status {
            StepStatus::Pending => "Pending",
            StepStatus::Running => "Running",
            StepStatus::Succeeded => "Succeeded",
            StepStatus::Failed => "Failed",
            StepStatus::Skipped => "Skipped",
            StepStatus::Cancelled => "Cancelled",
            StepStatus::Lost => "Lost",
        };
        Self::new(status.as_str(), label)
    }
}

/// One deployment on one line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: DeploymentId,
    pub(super) badge: Badge,
    pub(super) project_slug: String,
    pub(super) project_name: String,
    pub(super) target: String,
    pub(super) ref_name: Option<String>,
    pub(super) commit: Option<Commit>,
    /// The commit's subject, or what the person said about it.
    pub(super) about: Option<String>,
    pub(super) by: String,
    pub(super) created: Moment,
    pub(super) elapsed: Option<Elapsed>,
}

impl Row {
    pub(super) fn new(detail: &Detail, now: DateTime<Utc>) -> Self {
        let row = &detail.row;
        let subject = row.commit_subject.clone();
        Self {
            id: row.id,
            badge: row.status.into(),
            project_slug: detail.project.slug.clone(),
            project_name: detail.project.name.clone(),
            target: detail.target.slug.clone(),
            ref_name: row.ref_name.clone(),
            commit: row.commit_id.clone().map(Commit),
            about: subject.or_else(|| row.note.clone()),
            by: by(detail),
            created: Moment::new(row.created_at, now),
            elapsed: Elapsed::new(row.started_at, row.finished_at, now),
        }
    }
}

/// A commit's full id; people read its beginning.
#[derive(Clone, Debug)]
pub(super) struct Commit(pub(super) String);

impl Commit {
    pub(super) fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

/// Who or what asked for a deployment.
fn by(detail: &Detail) -> String {
    match (&detail.requested_by, detail.row.trigger_kind) {
        (Some(user), _) => user.name.clone(),
        (None, Trigger::Webhook) => "a push".to_owned(),
        (None, Trigger::Schedule) => "the schedule".to_owned(),
        (None, Trigger::Manual | Trigger::Retry | Trigger::Rollback) => {
            "a deleted account".to_owned()
        }
    }
}
