//! One run of one deployment, from the commit to the live release.

mod environment;
mod log;
mod masks;
mod persist;
mod plan;
mod resume;
mod rollout;
mod source;
mod steps;

use std::{collections::BTreeMap, sync::Arc};

use slipway_core::{
    ctx::Ctx,
    deployment::{
        brief::{Brief, Known},
        entity::deployment::Model,
        reason::{Code, Reason},
        run::{Assignment, Ended, RunEnd, prepare},
        store::{ending::Last, step::Plan},
    },
    fail,
    project::policy::RetryPolicy,
};
use tokio_util::sync::CancellationToken;

use crate::{
    exec::Scope, git::GitStore, guard::Guard, instance::Instance, lease::Signals, runner::Work,
};
pub use environment::INHERITED;
use log::Journal;
pub use masks::Pipes;
pub(crate) use masks::remove_abandoned as remove_abandoned_masks;
pub(crate) use persist::persist;
use resume::Standing;
use steps::Steps;

/// What a worker gives to each of its runs.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The process's state.
    pub ctx: Ctx,
    /// Proof of life for others who use the same folder.
    pub instance: Arc<Instance>,
    /// Ends what runs when this process cannot.
    pub guard: Guard,
    /// Mirrors and checkouts.
    pub git: GitStore,
    /// Where steps write what they want masked.
    pub pipes: Pipes,
    /// The worker's name.
    pub name: String,
    /// What steps find in their environment besides their own values.
    pub base_environment: BTreeMap<String, String>,
    /// Cancelled when the worker stops without waiting any longer.
    pub hand_back: CancellationToken,
}

impl Work for Workshop {
    fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn hand_back(&self) -> &CancellationToken {
        &self.hand_back
    }

    async fn ready(&self) {
        self.guard.ready().await;
    }

    fn plan(&self, row: &Model, brief: &Brief) -> Option<Plan> {
        plan::with_claim(&self.name, row, brief)
    }

    async fn run(&self, row: Model, known: Known, signals: &Signals) -> Option<Ended> {
        run(self, (row, known), signals).await
    }

    async fn clean_up(&self, row: &Model) {
        clean_up(self, row).await;
    }
}

/// Why a run stops before its end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// Something did not work.
    Failed(Reason),
    /// Somebody or something outside wants it to stop.
    Halted,
}

impl Stop {
    pub(crate) fn failed(code: Code, text: impl Into<String>) -> Self {
        Self::Failed(Reason::new(code, text))
    }

    /// The same without secrets in its sentence, which may quote whatever went wrong.
    fn masked(self, journal: &Journal) -> Self {
        match self {
            Self::Failed(reason) => Self::failed(reason.code, journal.masked(&reason.text)),
            Self::Halted => Self::Halted,
        }
    }
}

/// A fault of ours is worth another attempt. A database that is away is nobody's: the run is handed
/// back, which costs none.
impl From<slipway_core::error::Error> for Stop {
    fn from(error: slipway_core::error::Error) -> Self {
        tracing::error!(error = ?error, "a run broke off");
        if error.is_database_away() {
            return Self::Halted;
        }
        Self::failed(
            Code::Internal,
            "Slipway itself failed; its worker's own log says why.",
        )
    }
}

/// Runs a deployment that was claimed. Answers nothing when it is not ours any more.
pub async fn run(
    shop: &Workshop,
    (row, known): (Model, Known),
    signals: &Signals,
) -> Option<Ended> {
    let defaults = RetryPolicy::new(&shop.ctx.settings.queue, None, None);
    let halt = halt(shop, signals);
    let _over = halt.clone().drop_guard();
    let (id, fence) = (row.id, row.fence);
    fail::point("run.before_prepare");
    let assignment = match prepare(&shop.ctx, row, known).await {
        Ok(Ok(assignment)) => assignment,
        Ok(Err(reason)) => {
            log::say_why(&shop.ctx, (id, fence), &reason).await;
            return Some(Ended {
                end: RunEnd::Failed(reason),
                retry: defaults,
                last: Last::default(),
            });
        }
        Err(error) => {
            let end = match Stop::from(error) {
                Stop::Failed(reason) => RunEnd::Failed(reason),
                Stop::Halted => RunEnd::HandedBack,
            };
            return Some(Ended {
                end,
                retry: defaults,
                last: Last::default(),
            });
        }
    };
    let retry = assignment.retry.clone();
    let (outcome, last) = tokio::select! {
        over = carry_out(shop, &assignment, signals, &halt) => over,
        () = overdue(shop, signals) => return None,
    };
    let end = match outcome {
        _ if signals.lost.is_cancelled() => return None,
        Ok(()) => RunEnd::Succeeded,
        Err(Stop::Failed(reason)) if !halt.is_cancelled() => RunEnd::Failed(reason),
        Err(_) if signals.cancelled.is_cancelled() => RunEnd::Cancelled,
        Err(Stop::Halted) => RunEnd::HandedBack,
        Err(Stop::Failed(reason)) => {
            tracing::debug!(reason = reason.text, "a run failed while it was stopped");
            RunEnd::HandedBack
        }
    };
    Some(Ended { end, retry, last })
}

/// One token for everything that stops a run.
fn halt(shop: &Workshop, signals: &Signals) -> CancellationToken {
    let halt = CancellationToken::new();
    let (lost, cancelled) = (signals.lost.clone(), signals.cancelled.clone());
    let (hand_back, token, guard) = (shop.hand_back.clone(), halt.clone(), shop.guard.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = lost.cancelled() => {}
            () = cancelled.cancelled() => {}
            () = hand_back.cancelled() => {}
            () = guard.missing() => {}
            // The run is over.
            () = token.cancelled() => {}
        }
        token.cancel();
    });
    halt
}

/// A run that was lost has a sixth of a lease to stop by itself. Then it is dropped, which kills
/// its processes: they have to be gone before another worker may begin.
async fn overdue(shop: &Workshop, signals: &Signals) {
    signals.lost.cancelled().await;
    tokio::time::sleep(shop.ctx.settings.queue.lease() / 6).await;
}

async fn carry_out(
    shop: &Workshop,
    assignment: &Assignment,
    signals: &Signals,
    halt: &CancellationToken,
) -> (Result<(), Stop>, Last) {
    fail::point("run.before_journal");
    let journal = match Journal::open(shop, assignment, signals) {
        Ok(journal) => journal,
        Err(stop) => return (Err(stop), Last::default()),
    };
    if assignment.planned.is_empty() {
        let Assignment {
            row,
            project,
            target,
            ..
        } = assignment;
        let greeting = plan::greeting(&shop.name, row, (project, target));
        journal.note(&greeting).await;
        // An earlier run may still have to be refused at the target.
        if plan::is_first(row) && steps::is_idle(&assignment.pipeline, (row, target)) {
            return leave_out(assignment, &journal).await;
        }
    }
    let scope = Scope {
        cancel: halt.clone(),
        run: signals.run.clone(),
    };
    let (outcome, step) = match Steps::plan(shop, assignment, &journal, (&scope, signals)).await {
        Ok(mut steps) => (take(&mut steps).await, steps.last),
        Err(stop) => (Err(stop), None),
    };
    let outcome = outcome.map_err(|stop| stop.masked(&journal));
    match &outcome {
        Err(Stop::Failed(reason)) => journal.note(&reason.text).await,
        Err(Stop::Halted) if signals.cancelled.is_cancelled() => journal.note("Cancelled.").await,
        Err(Stop::Halted) if shop.hand_back.is_cancelled() => {
            journal
                .note("The worker stops; another one begins anew.")
                .await;
        }
        Ok(()) | Err(Stop::Halted) => {}
    }
    match journal.close().await {
        Ok(output) => {
            let plan = None;
            (outcome, Last { plan, step, output })
        }
        Err(stop) => (outcome.and(Err(stop)), Last::default()),
    }
}

/// Leaves out every step. Nothing has to be done, so what there was to do is written with the end.
async fn leave_out(assignment: &Assignment, journal: &Journal) -> (Result<(), Stop>, Last) {
    for step in &assignment.pipeline.after {
        journal.note(&steps::left_out(step)).await;
    }
    let written = async {
        Ok((
            plan::of(&assignment.row, &assignment.pipeline)?,
            journal.close().await?,
        ))
    };
    match written.await {
        Ok((plan, output)) => {
            let plan = Some(plan);
            let step = None;
            (Ok(()), Last { plan, step, output })
        }
        Err(stop) => (Err(stop), Last::default()),
    }
}

/// Takes the steps of a run, as far as an earlier one has not.
async fn take(steps: &mut Steps<'_>) -> Result<(), Stop> {
    let standing = resume::look(steps).await?;
    if standing == Standing::Done {
        resume::enter(steps).await?;
        return resume::conclude(steps).await;
    }
    let source = source::check_out(steps).await?;
    if standing == Standing::Live {
        steps.skip(steps.assignment.pipeline.build.len()).await?;
    } else {
        steps.build(source.as_ref()).await?;
    }
    rollout::roll_out(steps, source.as_ref()).await
}

/// Removes the folder of a run, which is of no use to anybody once the run is over.
pub(crate) async fn clean_up(shop: &Workshop, row: &Model) {
    if let Err(error) = shop.git.remove_run(row.id.0, row.fence).await {
        tracing::warn!(deployment.id = row.id.0, error = %error, "a run's folder was left behind");
    }
}

#[cfg(test)]
mod tests {
    use slipway_core::{
        db::{Db, broken},
        deployment::{
            batches::Batches,
            brief::Errand,
            store::step::{Plan, RunKey},
        },
        id::{DeploymentId, ProjectId, TargetId},
        settings::{
            Settings,
            load::{Source, load},
        },
    };
    use slipway_testkit::MariadbServer;

    use super::*;

    async fn connected(server: &MariadbServer) -> (Db, Settings) {
        let port = server.port().to_string();
        let variables = [
            ("DIALECT", "mysql"),
            ("HOST", "127.0.0.1"),
            ("PORT", port.as_str()),
            ("USERNAME", MariadbServer::USER),
            ("PASSWORD", server.password()),
            ("DATABASE", MariadbServer::DATABASE),
        ];
        let variables =
            variables.map(|(name, value)| (format!("SLIPWAY__DATABASE__{name}"), value.to_owned()));
        let source = Source {
            config: None,
            dir: std::env::temp_dir(),
        };
        let settings = load(&source, &variables.into()).unwrap();
        let db = Db::connect(&settings.database).await.unwrap();
        db.ping().await.unwrap();
        (db, settings)
    }

    #[tokio::test]
    async fn database_that_is_away_stops_a_run_and_a_fault_of_ours_fails_it() {
        let mut server = MariadbServer::start();
        let (db, _) = connected(&server).await;
        let ours = broken("a row is missing");
        assert!(matches!(Stop::from(ours), Stop::Failed(_)));
        server.stop();
        for _ in 0..2 {
            let away = db.ping().await.unwrap_err();
            assert!(away.is_database_away(), "{away:?}");
            assert!(matches!(Stop::from(away), Stop::Halted));
        }
    }

    /// What runs ask together fails together, and each of them has to tell why.
    #[tokio::test]
    async fn database_that_is_away_stops_runs_that_ask_together() {
        let mut server = MariadbServer::start();
        let (db, settings) = connected(&server).await;
        let batches = Batches::new(&db, &settings.queue);
        server.stop();
        let errand = Errand {
            deployment: DeploymentId(1),
            project: ProjectId(1),
            target: TargetId(1),
        };
        let plan = || Plan {
            run: RunKey {
                deployment: DeploymentId(1),
                fence: 1,
                attempt: 1,
            },
            pipeline: String::new(),
            steps: Vec::new(),
            greeting: None,
        };
        let (one, other) = tokio::join!(batches.briefs.ask(errand), batches.briefs.ask(errand));
        let (planned, again) = tokio::join!(batches.plans.ask(plan()), batches.plans.ask(plan()));
        let failures = [one.err(), other.err(), planned.err(), again.err()];
        for failure in failures {
            let stop = Stop::from(failure.expect("nothing answers"));
            assert!(matches!(stop, Stop::Halted), "{stop:?}");
        }
    }
}
