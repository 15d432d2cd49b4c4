//! What a run is going to do, as it is written down beforehand.

use slipway_core::{
    db,
    deployment::{
        brief::Brief,
        entity::deployment::Model,
        run::Assignment,
        step::Phase,
        store::step::{Plan, PlannedStep, RunKey},
    },
    error::Error,
    fail,
    id::StepId,
    pipeline::{Pipeline, Step},
    ports::Event,
    project::entity::Model as Project,
    target::entity::Model as Target,
};

use super::{
    Stop, Workshop,
    log::{self, Journal},
    steps::is_idle,
};

/// The host of everything that runs on the worker's own machine.
const LOCAL: &str = "local";

/// The rows of the steps that a run is going to take.
pub(super) struct Written {
    /// In order.
    pub(super) rows: Vec<StepId>,
    /// The first one, if it has begun with that.
    pub(super) begun: Option<StepId>,
}

/// Writes down what the run is going to do, and with it what its log says so far.
pub(super) async fn write_down(
    shop: &Workshop,
    assignment: &Assignment,
    journal: &Journal,
) -> Result<Written, Stop> {
    let (row, pipeline) = (&assignment.row, &assignment.pipeline);
    let mut plan = of(row, pipeline)?;
    let begins = begins_at_once(row, pipeline);
    if begins {
        begin(&mut plan);
    }
    let count = plan.steps.len();
    let greeting = journal.take().await;
    plan.greeting.clone_from(&greeting);
    fail::point("run.before_plan");
    let rows = match shop.ctx.batches.plans.ask(plan).await {
        Ok(rows) => rows,
        Err(error) => {
            journal.put_back(greeting).await;
            return Err(error.into());
        }
    };
    fail::point("run.after_plan");
    if rows.len() != count {
        return Err(Stop::Halted);
    }
    shop.ctx.bus.publish(Event::Changed(row.id)).await;
    let begun = rows.first().copied().filter(|_| begins);
    Ok(Written { rows, begun })
}

/// What was written down with the claim.
pub(super) fn written(assignment: &Assignment) -> Written {
    let rows = assignment.planned.clone();
    let begins = begins_at_once(&assignment.row, &assignment.pipeline);
    let begun = rows.first().copied().filter(|_| begins);
    Written { rows, begun }
}

/// What a run on this worker is going to do, if it is sure to come so far: then it is written down
/// with its claim. A run that leaves out every step writes it with its end.
pub(super) fn with_claim(worker: &str, row: &Model, brief: &Brief) -> Option<Plan> {
    let Brief {
        project, target, ..
    } = brief;
    let pipeline = brief.pipeline.as_ref().ok()?;
    let mut secrets = pipeline.steps().filter_map(|step| step.secrets.as_ref());
    // A secret that is missing or cannot be read ends the run before it has begun.
    let may_not_begin = !brief.secrets.is_empty() || secrets.any(|names| !names.is_empty());
    if !is_first(row) || may_not_begin || is_idle(pipeline, (row, target)) {
        return None;
    }
    let mut plan = of(row, pipeline).ok()?;
    if begins_at_once(row, pipeline) {
        begin(&mut plan);
    }
    let text = greeting(worker, row, (project, target));
    plan.greeting = Some(log::opening((row.id, row.fence), &text));
    Some(plan)
}

/// What a run is going to do, before it has begun with it.
pub(super) fn of(row: &Model, pipeline: &Pipeline) -> Result<Plan, Stop> {
    Ok(Plan {
        run: RunKey {
            deployment: row.id,
            fence: row.fence,
            attempt: row.attempt,
        },
        pipeline: serde_json::to_string(pipeline).map_err(Error::from)?,
        steps: planned(pipeline),
        greeting: None,
    })
}

/// What a log begins with.
pub(super) fn greeting(worker: &str, row: &Model, place: (&Project, &Target)) -> String {
    let (project, target) = place;
    let what = row
        .ref_name
        .as_deref()
        .map(|name| format!(" of {name}"))
        .unwrap_or_default();
    format!(
        "Deployment {}{what} of project {} to target {}, attempt {}, on worker {worker}.",
        row.id, project.slug, target.slug, row.attempt
    )
}

/// Whether no earlier run has left anything behind.
pub(super) fn is_first(row: &Model) -> bool {
    row.attempt == 1 && row.interruptions == 0
}

/// Whether a run begins with its first step as soon as that is written down: only a first one, as a
/// later one may find it done, and only with a step that nothing can leave out.
fn begins_at_once(row: &Model, pipeline: &Pipeline) -> bool {
    let first = pipeline.after.first();
    let is_certain = pipeline.needs_checkout() || first.is_none_or(|step| step.when.is_none());
    is_first(row) && is_certain
}

fn begin(plan: &mut Plan) {
    if let Some(first) = plan.steps.first_mut() {
        first.begins = Some(db::now());
    }
}

/// What a run is going to do, in order.
fn planned(pipeline: &Pipeline) -> Vec<PlannedStep> {
    let own = |phase: Phase, name: &str| PlannedStep {
        phase,
        name: name.to_owned(),
        host: LOCAL.to_owned(),
        begins: None,
    };
    let commands = |phase: Phase, steps: &[Step]| -> Vec<PlannedStep> {
        steps.iter().map(|step| own(phase, &step.name)).collect()
    };
    let mut planned = Vec::new();
    if pipeline.needs_checkout() {
        planned.push(own(Phase::Checkout, "checkout"));
        planned.extend(commands(Phase::Build, &pipeline.build));
        planned.push(own(Phase::Release, "ship"));
        planned.extend(commands(Phase::Release, &pipeline.release));
        planned.push(own(Phase::Activate, "activate"));
    }
    planned.extend(commands(Phase::After, &pipeline.after));
    if pipeline.health.is_some() {
        planned.push(own(Phase::Health, "health"));
    }
    planned
}
