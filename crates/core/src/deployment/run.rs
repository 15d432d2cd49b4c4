//! What a worker reads and writes about the run that it holds; system-only.
//!
//! Every write names the run's fence, so a worker that was replaced writes nothing.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    brief::{Errand, Known},
    entity::deployment::Model,
    reason::{Code, Reason},
    status::{Status, Transition},
    store::{
        self,
        ending::{self, Ending, Last},
    },
};
use crate::{
    ctx::Ctx,
    error::Result,
    id::StepId,
    pipeline::Pipeline,
    ports::Event,
    project::{self, policy::RetryPolicy},
    target,
    vault::{self, value::SecretValue},
};

/// Everything that a run needs to know, read once it is claimed.
#[derive(Debug)]
pub struct Assignment {
    /// The deployment as it was claimed.
    pub row: Model,
    /// Its project.
    pub project: Arc<project::entity::Model>,
    /// Its target.
    pub target: target::entity::Model,
    /// The pipeline that it follows.
    pub pipeline: Arc<Pipeline>,
    /// Plain values for its steps.
    pub variables: BTreeMap<String, String>,
    /// Decrypted values for its steps.
    pub secrets: BTreeMap<String, SecretValue>,
    /// How often it is tried.
    pub retry: RetryPolicy,
    /// The commit that was live before, if the target has had one.
    pub previous_commit: Option<String>,
    /// The number of the newest line of its log.
    pub last_line: i64,
    /// The rows of its steps, if they were written with the claim.
    pub planned: Vec<StepId>,
}

/// Reads what a run needs, unless that came with its claim, and decrypts the secrets that its steps
/// name.
///
/// # Errors
/// The reason for which the deployment cannot run; the outer error when the database fails.
pub async fn prepare(
    ctx: &Ctx,
    row: Model,
    known: Known,
) -> Result<std::result::Result<Assignment, Reason>> {
    let errand = Errand {
        deployment: row.id,
        project: row.project_id,
        target: row.target_id,
    };
    let Known { brief, planned } = known;
    // Read after its claim, the project's pipeline may be a later one than what was written with it.
    let written = match &row.pipeline {
        Some(written) if brief.is_none() && !planned.is_empty() => Some(written),
        _ => None,
    };
    let written = written.map(|json| serde_json::from_str(json)).transpose()?;
    let brief = match brief {
        Some(brief) => Some(brief),
        None => ctx.batches.briefs.ask(errand).await?,
    };
    let Some(brief) = brief else {
        let text = "Its project or target was deleted.";
        return Ok(Err(Reason::new(Code::ConfigurationInvalid, text)));
    };
    let pipeline = match written.map_or(brief.pipeline, |written| Ok(Arc::new(written))) {
        Ok(pipeline) => pipeline,
        Err(reason) => return Ok(Err(reason)),
    };
    let revealed = vault::service::reveal_for_run(ctx, &row, &brief.secrets, &pipeline).await?;
    let secrets = match revealed {
        Ok(secrets) => secrets,
        Err(reason) => return Ok(Err(reason)),
    };
    let project = brief.project;
    Ok(Ok(Assignment {
        retry: RetryPolicy::new(
            &ctx.settings.queue,
            project.retry_attempts,
            project.retry_delays.as_deref(),
        ),
        // Ordered by scope, so a target's own value replaces its project's.
        variables: brief
            .variables
            .into_iter()
            .map(|row| (row.name, row.value))
            .collect(),
        secrets,
        pipeline,
        project,
        target: brief.target,
        previous_commit: brief.previous_commit,
        last_line: brief.last_line,
        planned,
        row,
    }))
}

/// How a run ended, as its worker saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Every step worked.
    Succeeded,
    /// It failed.
    Failed(Reason),
    /// Somebody stopped it.
    Cancelled,
    /// The worker stops and gives it back unharmed.
    HandedBack,
}

/// A run that is over, and what follows from it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How it ended.
    pub end: RunEnd,
    /// How often its deployment is tried.
    pub retry: RetryPolicy,
    /// What is written down together with its end.
    pub last: Last,
}

/// What is next for a deployment whose run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it has ended.
    Ended,
    /// Another attempt, after this many milliseconds.
    Retry(u64),
    /// Another worker takes it.
    Requeue,
    /// It was not ours any more; nothing was written.
    Lost,
}

/// Decides what follows from how a run ended: pure.
#[must_use]
pub fn decide(end: RunEnd, attempt: i64, retry: &RetryPolicy) -> (Transition, Next) {
    match end {
        RunEnd::Succeeded => (Transition::Succeed, Next::Ended),
        RunEnd::Cancelled => (Transition::Cancel { by: None }, Next::Ended),
        RunEnd::HandedBack => (Transition::HandBack, Next::Requeue),
        RunEnd::Failed(reason) => match retry.delay_after(attempt) {
            Some(delay_ms) if reason.code.may_retry() => (
                Transition::RetryLater { reason, delay_ms },
                Next::Retry(delay_ms),
            ),
            _ => (Transition::Fail(reason), Next::Ended),
        },
    }
}

/// Writes how a run ended.
///
/// # Errors
/// When the database fails; the lease then runs out and the reaper decides.
pub async fn finish(ctx: &Ctx, row: &Model, ended: &Ended, now: DateTime<Utc>) -> Result<Next> {
    let Ended { end, retry, last } = ended;
    let (mut transition, next) = decide(end.clone(), row.attempt, retry);
    if let Transition::Cancel { by } = &mut transition {
        let current = store::read::find(ctx.db.writer(), row.id).await?;
        *by = current.and_then(|row| row.cancel_requested_by);
    }
    let left = if transition == Transition::Succeed {
        let (row, last) = (row.clone(), last.clone());
        let written = ctx.batches.endings.ask(Ending { row, last, now }).await?;
        written.then_some(Status::Succeeded)
    } else {
        crate::db::retried(|| ending::leave_one(&ctx.db, (row, last), &transition, now)).await?
    };
    ctx.bus.publish(Event::Changed(row.id)).await;
    Ok(match left {
        None => Next::Lost,
        Some(status) if status.is_terminal() => {
            ctx.process.counters.ended(status);
            Next::Ended
        }
        Some(_) => next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: Code) -> RunEnd {
        RunEnd::Failed(Reason::new(code, "why"))
    }

    #[test]
    fn a_failed_step_is_tried_three_times() {
        let retry = RetryPolicy {
            attempts: 3,
            delays_ms: vec![1000, 5000, 25_000],
        };
        let next = |attempt| decide(failed(Code::StepFailed), attempt, &retry).1;
        assert_eq!(
            [next(1), next(2), next(3)],
            [Next::Retry(1000), Next::Retry(5000), Next::Ended]
        );
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let retry = RetryPolicy {
            attempts: 3,
            delays_ms: vec![1],
        };
        for code in [
            Code::UnknownRef,
            Code::PipelineInvalid,
            Code::ConfigurationInvalid,
            Code::SecretMissing,
            Code::SecretIntegrity,
            Code::StaleFence,
        ] {
            assert_eq!(decide(failed(code), 1, &retry).1, Next::Ended, "{code:?}");
        }
    }
}
