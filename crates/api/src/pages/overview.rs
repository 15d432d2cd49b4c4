//! Everything about one deployment but its log, in words.

use chrono::{DateTime, Utc};
use slipway_core::{
    deployment::{
        entity::step,
        queue_place::{QueuePlace, WaitingFor},
        reason::Code,
        service::Detail,
        status::Status,
        step::StepStatus,
        trigger::Trigger,
    },
    id::DeploymentId,
};

use super::{
    moment::{Elapsed, Moment},
    row::{Badge, Row},
};

/// One deployment.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) row: Row,
    pub(super) subject: Option<String>,
    pub(super) author: Option<String>,
    pub(super) note: Option<String>,
    pub(super) trigger: &'static str,
    pub(super) retry_of: Option<DeploymentId>,
    pub(super) superseded_by: Option<DeploymentId>,
    pub(super) started: Option<Moment>,
    pub(super) finished: Option<Moment>,
    pub(super) attempt: i64,
    pub(super) interruptions: i64,
    pub(super) waits: Option<Waits>,
    pub(super) reason: Option<Reason>,
    pub(super) is_stopping: bool,
    pub(super) is_open: bool,
    pub(super) runs: Vec<Run>,
    pub(super) action: Option<Action>,
}

/// What the visitor may do with it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Cancel,
    Retry,
}

impl Action {
    pub(super) fn is_cancel(self) -> bool {
        self == Self::Cancel
    }
}

/// What a queued deployment waits for.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) text: String,
    /// The deployment that it waits for.
    pub(super) holder: Option<DeploymentId>,
    /// When it is tried again.
    pub(super) again: Option<Moment>,
}

/// Why it is not live.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) text: String,
    pub(super) advice: Option<&'static str>,
    pub(super) is_failure: bool,
}

impl Overview {
    pub(super) fn new(detail: &Detail, may_deploy: bool, now: DateTime<Utc>) -> Self {
        let row = &detail.row;
        let is_open = !row.status.is_terminal();
        let is_stopping = is_open && row.cancel_requested_at.is_some();
        Self {
            subject: row.commit_subject.clone(),
            author: row.commit_author.clone(),
            note: row.note.clone(),
            trigger: trigger(row.trigger_kind),
            retry_of: row.retry_of,
            superseded_by: row.superseded_by,
            started: row.started_at.map(|at| Moment::new(at, now)),
            finished: row.finished_at.map(|at| Moment::new(at, now)),
            attempt: row.attempt,
            interruptions: row.interruptions,
            waits: detail.queue.as_ref().map(|place| waits(detail, place, now)),
            reason: reason(detail),
            is_stopping,
            is_open,
            runs: runs(&detail.steps, now),
            action: action(row.status, is_stopping).filter(|_| may_deploy),
            row: Row::new(detail, now),
        }
    }
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Manual => "Manual",
        Trigger::Retry => "Retry",
        Trigger::Webhook => "Push",
        Trigger::Schedule => "Schedule",
        Trigger::Rollback => "Rollback",
    }
}

fn action(status: Status, is_stopping: bool) -> Option<Action> {
    match status {
        Status::AwaitingApproval | Status::Queued | Status::Running => {
            (!is_stopping).then_some(Action::Cancel)
        }
        Status::Failed | Status::Cancelled | Status::Superseded => Some(Action::Retry),
        Status::Succeeded => None,
    }
}

fn waits(detail: &Detail, place: &QueuePlace, now: DateTime<Utc>) -> Waits {
    let again = DateTime::from_timestamp_micros(detail.row.not_before);
    let ahead = place.position.saturating_sub(1);
    let text = match place.waiting_for {
        WaitingFor::OlderDeployment if ahead > 1 => {
            format!("Waits for {ahead} older deployments of this target.")
        }
        WaitingFor::OlderDeployment => "Waits for 1 older deployment of this target.".to_owned(),
        // The moment is shown beside it, in the reader's own time.
        WaitingFor::BackOff => "The last attempt failed; it will be tried again.".to_owned(),
        WaitingFor::RunningDeployment | WaitingFor::Limit | WaitingFor::Worker => {
            format!("{}.", place.waiting_text)
        }
        // It ends with what somebody wrote.
        WaitingFor::Lock => place.waiting_text.clone(),
    };
    let is_back_off = place.waiting_for == WaitingFor::BackOff;
    Waits {
        text,
        holder: detail.target.holder_id.filter(|id| *id != detail.row.id),
        again: again.filter(|_| is_back_off).map(|at| Moment::new(at, now)),
    }
}

/// The reason of the last run; while another attempt is under way it is history.
fn reason(detail: &Detail) -> Option<Reason> {
    let row = &detail.row;
    let shown = row.status != Status::Running && row.status != Status::Succeeded;
    let text = row.reason_text.clone().filter(|_| shown)?;
    let code = row.reason.as_deref().unwrap_or_default();
    let advice = ADVICE.iter().find(|(known, _)| known.as_str() == code);
    Some(Reason {
        text,
        advice: advice.map(|(_, advice)| *advice),
        is_failure: matches!(row.status, Status::Failed | Status::Queued),
    })
}

/// What to do about a reason that somebody can mend.
const ADVICE: [(Code, &str); 11] = [
    (
        Code::StepFailed,
        "The log below ends with the step's own message. Mend the cause and retry.",
    ),
    (
        Code::StepTimeout,
        "If the step needs longer, raise its timeout in the pipeline, then retry.",
    ),
    (
        Code::HealthCheckFailed,
        "Look at the application's own log on the target; check the address in the pipeline's \
         health section.",
    ),
    (
        Code::RepositoryUnreachable,
        "Check the project's repository address and the worker's access to it, then retry.",
    ),
    (
        Code::UnknownRef,
        "Push the branch, tag or commit, or deploy another one.",
    ),
    (Code::PipelineInvalid, "Correct the pipeline, then retry."),
    (
        Code::ConfigurationInvalid,
        "Complete the project's configuration, then retry.",
    ),
    (
        Code::SecretMissing,
        "Set the secret on the project or on the target, then retry.",
    ),
    (
        Code::SecretIntegrity,
        "Set the secret again; if it keeps failing, check the master keys.",
    ),
    (
        Code::TargetUnusable,
        "Check that the target's folder exists and can be written, then retry.",
    ),
    (
        Code::WorkerLost,
        "Check the workers' memory and service logs, then retry.",
    ),
];

/// The steps of one run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) title: String,
    pub(super) steps: Vec<StepRow>,
}

/// One step in the table.
#[derive(Debug)]
pub(super) struct StepRow {
    pub(super) phase: &'static str,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) badge: Badge,
    pub(super) exit: Option<String>,
    pub(super) elapsed: Option<Elapsed>,
}

/// Runs, the newest first. A run that was interrupted counts as the same attempt as the next one,
/// so runs are told apart by their fences.
fn runs(steps: &[step::Model], now: DateTime<Utc>) -> Vec<Run> {
    let chunks = steps.chunk_by(|one, next| one.fence == next.fence);
    let mut runs: Vec<Run> = chunks.map(|steps| run(steps, now)).collect();
    runs.reverse();
    runs
}

fn run(steps: &[step::Model], now: DateTime<Utc>) -> Run {
    let attempt = steps.first().map_or(1, |step| step.attempt);
    let was_lost = steps.iter().any(|step| step.status == StepStatus::Lost);
    let suffix = if was_lost { ", interrupted" } else { "" };
    Run {
        title: format!("Attempt {attempt}{suffix}"),
        steps: steps.iter().map(|step| step_row(step, now)).collect(),
    }
}

fn step_row(step: &step::Model, now: DateTime<Utc>) -> StepRow {
    let exit = match (step.exit_code, step.signal) {
        (_, Some(signal)) => Some(format!("signal {signal}")),
        (Some(code), None) => Some(format!("exit {code}")),
        (None, None) => None,
    };
    StepRow {
        phase: step.phase.as_str(),
        name: step.name.clone(),
        host: step.host.clone(),
        badge: step.status.into(),
        exit,
        elapsed: Elapsed::new(step.started_at, step.finished_at, now),
    }
}
