//! The steps of a run, one after the other, each with its row, its output and its end.

use std::{future::Future, path::Path, vec};

use chrono::{DateTime, Utc};
use slipway_core::{
    db,
    deployment::{
        entity::deployment::Model, reason::Code, run::Assignment, step::StepStatus,
        store::step::StepEnd,
    },
    fail,
    id::StepId,
    pipeline::{Facts, OnFailure, Pipeline, Step},
    ports::Event,
    target::entity::Model as Target,
};

use super::{
    Stop, Workshop, environment,
    log::Journal,
    masks, persist,
    plan::{self, Written},
    resume::Record,
    source::Source,
};
use crate::{
    exec::{self, Limits, Outcome, Scope},
    lease::Signals,
    release::Deadline,
};

/// The steps of one run.
pub(super) struct Steps<'a> {
    pub(super) shop: &'a Workshop,
    pub(super) assignment: &'a Assignment,
    pub(super) journal: &'a Journal,
    pub(super) scope: &'a Scope,
    pub(super) signals: &'a Signals,
    /// What the target remembers of this run, once it has been there.
    pub(super) record: Option<Record>,
    /// How the last step ended, if that is not written yet: it goes with the end of the run.
    pub(super) last: Option<(StepId, StepEnd, DateTime<Utc>)>,
    /// The step that began when it was written down.
    begun: Option<StepId>,
    rows: vec::IntoIter<StepId>,
}

/// Where a step works, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) source: Option<&'a Source>,
    pub(super) release: Option<&'a Path>,
}

impl<'a> Steps<'a> {
    /// Writes down what the run is going to do, unless that was done with its claim.
    pub(super) async fn plan(
        shop: &'a Workshop,
        assignment: &'a Assignment,
        journal: &'a Journal,
        control: (&'a Scope, &'a Signals),
    ) -> Result<Self, Stop> {
        let (scope, signals) = control;
        let Written { rows, begun } = if assignment.planned.is_empty() {
            plan::write_down(shop, assignment, journal).await?
        } else {
            plan::written(assignment)
        };
        Ok(Self {
            shop,
            assignment,
            journal,
            scope,
            signals,
            record: None,
            last: None,
            begun,
            rows: rows.into_iter(),
        })
    }

    /// Whether somebody has asked for the deployment to stop.
    pub(super) fn is_cancelled(&self) -> bool {
        self.signals.cancelled.is_cancelled() && !self.signals.lost.is_cancelled()
    }

    /// Until when the target may be changed.
    pub(super) fn deadline(&self) -> Deadline {
        let signals = self.signals.clone();
        Deadline::new(move || signals.give_up_if_late())
    }

    fn next(&mut self) -> Result<StepId, Stop> {
        let next = self.rows.next();
        next.ok_or_else(|| db::broken("a step has no row").into())
    }

    /// Does one of Slipway's own steps.
    pub(super) async fn own<T>(
        &mut self,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        let id = self.next()?;
        self.begin(id).await?;
        let _sink = self.journal.begin_step(id).await;
        let outcome = work.await;
        let status = match &outcome {
            Ok(_) => StepStatus::Succeeded,
            Err(Stop::Failed(_)) => StepStatus::Failed,
            Err(Stop::Halted) => StepStatus::Cancelled,
        };
        let end = StepEnd {
            status,
            exit_code: None,
            signal: None,
        };
        self.conclude(id, end).await?;
        outcome
    }

    /// Notes how a step ended, and that everything was done if it was the last one.
    async fn conclude(&mut self, id: StepId, end: StepEnd) -> Result<(), Stop> {
        let is_well = matches!(end.status, StepStatus::Succeeded | StepStatus::Skipped);
        if self.is_through() && is_well {
            // At once: a worker that is lost from here on need not do everything again.
            let completed = self.complete().await;
            self.journal.end_last_step().await;
            self.last = Some((id, end, db::now()));
            return completed;
        }
        // What it printed and how it ended are stored side by side; the run ends after both.
        let ((), ended) = tokio::join!(self.journal.end_step(), self.end(id, end));
        ended
    }

    /// Leaves steps out that were done by an earlier run.
    pub(super) async fn skip(&mut self, count: usize) -> Result<(), Stop> {
        for _ in 0..count {
            let id = self.next()?;
            self.end(id, skipped()).await?;
        }
        Ok(())
    }

    /// Leaves out whatever is left.
    pub(super) async fn skip_rest(&mut self) -> Result<(), Stop> {
        self.skip(self.rows.len()).await
    }

    /// Whether the step that was begun last is the last one of all.
    fn is_through(&self) -> bool {
        self.rows.len() == 0
    }

    /// Leaves word on the target that everything was done.
    pub(super) async fn complete(&mut self) -> Result<(), Stop> {
        match self.record.take() {
            Some(record) => record.complete().await,
            None => Ok(()),
        }
    }

    /// Runs the steps that turn the checkout into what is shipped.
    pub(super) async fn build(&mut self, source: Option<&Source>) -> Result<(), Stop> {
        let Some(source) = source else {
            return Ok(());
        };
        let place = Place {
            folder: &source.path,
            source: Some(source),
            release: None,
        };
        self.commands(&self.assignment.pipeline.build, place).await
    }

    /// Runs commands of the pipeline.
    pub(super) async fn commands(
        &mut self,
        steps: &'a [Step],
        place: Place<'_>,
    ) -> Result<(), Stop> {
        for step in steps {
            let outcome = self.command(step, place).await;
            match outcome {
                Err(Stop::Failed(reason)) if step.on_failure == OnFailure::Continue => {
                    let text = format!("{} The pipeline goes on all the same.", reason.text);
                    self.journal.note(&text).await;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn command(&mut self, step: &Step, place: Place<'_>) -> Result<(), Stop> {
        let id = self.next()?;
        if self.scope.cancel.is_cancelled() {
            return Err(Stop::Halted);
        }
        let Assignment { row, target, .. } = self.assignment;
        match is_wanted((row, target), step, place.source) {
            Ok(true) => {}
            Ok(false) => {
                self.journal.note(&left_out(step)).await;
                if self.is_through() {
                    return self.conclude(id, skipped()).await;
                }
                return self.end(id, skipped()).await;
            }
            Err(text) => {
                self.begin(id).await?;
                let status = StepStatus::Failed;
                self.end(
                    id,
                    StepEnd {
                        status,
                        exit_code: None,
                        signal: None,
                    },
                )
                .await?;
                return Err(Stop::failed(Code::PipelineInvalid, text));
            }
        }
        let pipe = self.journal.mask_pipe().await?;
        let (begun, mut sink) = tokio::join!(self.begin(id), self.journal.begin_step(id));
        begun?;
        let base = &self.shop.base_environment;
        let command =
            environment::command(step, self.assignment, base, place.source, place.release)
                .env(masks::VARIABLE, pipe)
                .dir(place.folder);
        let limits = Limits {
            idle_timeout: step.idle_timeout,
            ..Limits::new(step.timeout)
        };
        let outcome = exec::run(&command, &limits, self.scope, &mut sink).await;
        self.conclude(id, step_end(&outcome)).await?;
        verdict(step, outcome)
    }

    async fn begin(&self, id: StepId) -> Result<(), Stop> {
        if self.begun == Some(id) {
            return Ok(());
        }
        let (ctx, now) = (&self.shop.ctx, db::now());
        let begun = || ctx.batches.begun.ask((id, now));
        fail::point("run.before_step_begins");
        persist(ctx.settings.queue.lease(), &self.signals.lost, begun).await?;
        fail::point("run.after_step_began");
        self.shop
            .ctx
            .bus
            .publish(Event::Changed(self.assignment.row.id))
            .await;
        Ok(())
    }

    async fn end(&self, id: StepId, end: StepEnd) -> Result<(), Stop> {
        let (ctx, now) = (&self.shop.ctx, db::now());
        let ended = || ctx.batches.ended.ask((id, end, now));
        fail::point("run.before_step_ends");
        persist(ctx.settings.queue.lease(), &self.signals.lost, ended).await?;
        fail::point("run.after_step_ended");
        self.shop
            .ctx
            .bus
            .publish(Event::Changed(self.assignment.row.id))
            .await;
        Ok(())
    }
}

/// Whether nothing happens on the target: there is no commit to bring there, and conditions leave out
/// every step.
pub(super) fn is_idle(pipeline: &Pipeline, place: (&Model, &Target)) -> bool {
    let mut steps = pipeline.after.iter();
    !pipeline.needs_checkout()
        && pipeline.health.is_none()
        && steps.all(|step| matches!(is_wanted(place, step, None), Ok(false)))
}

/// What the log says of a step that its condition leaves out.
pub(super) fn left_out(step: &Step) -> String {
    format!(
        "Step {} is left out: its condition does not hold.",
        step.name
    )
}

fn is_wanted(
    (row, target): (&Model, &Target),
    step: &Step,
    source: Option<&Source>,
) -> Result<bool, String> {
    let Some(condition) = &step.when else {
        return Ok(true);
    };
    let facts = Facts {
        ref_name: row.ref_name.as_deref().unwrap_or_default(),
        branch: source.and_then(|source| source.branch.as_deref()),
        target: &target.slug,
        trigger: row.trigger_kind.as_str(),
        changed: source.and_then(|source| source.changed.as_deref()),
    };
    condition
        .evaluate(&facts)
        .map_err(|error| format!("The condition of step {} failed: {error}.", step.name))
}

fn skipped() -> StepEnd {
    StepEnd {
        status: StepStatus::Skipped,
        exit_code: None,
        signal: None,
    }
}

fn step_end(outcome: &Outcome) -> StepEnd {
    let (status, exit_code, signal) = match outcome {
        Outcome::Exited(0) => (StepStatus::Succeeded, Some(0), None),
        Outcome::Exited(code) => (StepStatus::Failed, Some(i64::from(*code)), None),
        Outcome::Signalled(signal) => (StepStatus::Failed, None, Some(i64::from(*signal))),
        Outcome::TimedOut | Outcome::IdleTimedOut | Outcome::NotStarted(_) => {
            (StepStatus::Failed, None, None)
        }
        Outcome::Cancelled => (StepStatus::Cancelled, None, None),
    };
    StepEnd {
        status,
        exit_code,
        signal,
    }
}

fn verdict(step: &Step, outcome: Outcome) -> Result<(), Stop> {
    let name = &step.name;
    match outcome {
        Outcome::Exited(0) => Ok(()),
        Outcome::Exited(code) => Err(Stop::failed(
            Code::StepFailed,
            format!("Step {name} exited with code {code}."),
        )),
        Outcome::Signalled(signal) => Err(Stop::failed(
            Code::StepFailed,
            format!("Step {name} was ended by signal {signal}."),
        )),
        Outcome::TimedOut => {
            let text = format!("Step {name} took longer than {:?}.", step.timeout);
            Err(Stop::failed(Code::StepTimeout, text))
        }
        Outcome::IdleTimedOut => {
            let limit = step.idle_timeout.unwrap_or_default();
            let text = format!("Step {name} printed nothing for {limit:?}.");
            Err(Stop::failed(Code::StepTimeout, text))
        }
        Outcome::NotStarted(why) => Err(Stop::failed(
            Code::TargetUnusable,
            format!("Step {name} could not start: {why}."),
        )),
        Outcome::Cancelled => Err(Stop::Halted),
    }
}
