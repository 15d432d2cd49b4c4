//! What a run is going to do, as it is written down beforehand.

use slipway_core::{
    db,
    deployment::{
        run::Assignment,
        step::Phase,
        store::step::{Plan, PlannedStep, RunKey},
    },
    error::Error,
    fail,
    id::StepId,
    pipeline::Step,
    ports::Event,
};

use super::{Stop, Workshop, log::Journal};

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
    let row = &assignment.row;
    let mut plan = of(assignment)?;
    // Only a first run is sure to begin there: a later one may find it done.
    let begins = row.attempt == 1 && row.interruptions == 0 && begins_at_once(assignment);
    if begins && let Some(first) = plan.steps.first_mut() {
        first.begins = Some(db::now());
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

/// What the run is going to do, before it has begun with it.
pub(super) fn of(assignment: &Assignment) -> Result<Plan, Stop> {
    let row = &assignment.row;
    Ok(Plan {
        run: RunKey {
            deployment: row.id,
            fence: row.fence,
            attempt: row.attempt,
        },
        pipeline: serde_json::to_string(&assignment.pipeline).map_err(Error::from)?,
        steps: planned(assignment),
        greeting: None,
    })
}

/// Whether the first step is one that nothing can leave out.
fn begins_at_once(assignment: &Assignment) -> bool {
    let pipeline = &assignment.pipeline;
    let first = pipeline.after.first();
    pipeline.needs_checkout() || first.is_none_or(|step| step.when.is_none())
}

/// What a run is going to do, in order.
fn planned(assignment: &Assignment) -> Vec<PlannedStep> {
    let pipeline = &assignment.pipeline;
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
