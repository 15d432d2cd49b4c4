//! One run of one deployment, from the commit to the live release.

mod environment;
mod log;
mod rollout;
mod source;
mod steps;

use std::collections::BTreeMap;

use slipway_core::{
    ctx::Ctx,
    deployment::{
        entity::deployment::Model,
        reason::{Code, Reason},
        run::{Assignment, RunEnd, prepare},
    },
    project::policy::RetryPolicy,
};
use tokio_util::sync::CancellationToken;

use crate::{git::GitStore, lease::Signals};
pub use environment::INHERITED;
use log::Journal;
use steps::Steps;

/// What a worker gives to each of its runs.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The process's state.
    pub ctx: Ctx,
    /// Mirrors and checkouts.
    pub git: GitStore,
    /// The worker's name.
    pub name: String,
    /// What steps find in their environment besides their own values.
    pub base_environment: BTreeMap<String, String>,
    /// Cancelled when the worker stops without waiting any longer.
    pub hand_back: CancellationToken,
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
}

/// A fault of ours or of the database: worth another attempt.
impl From<slipway_core::error::Error> for Stop {
    fn from(error: slipway_core::error::Error) -> Self {
        tracing::error!(error = ?error, "a run broke off");
        Self::failed(
            Code::Internal,
            "Slipway itself failed; its worker's own log says why.",
        )
    }
}

/// How a run ended, and how often its deployment is tried; nothing when it was lost.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub end: RunEnd,
    /// How often it is tried.
    pub retry: RetryPolicy,
}

/// Runs a deployment that was claimed. Answers nothing when it is not ours any more.
pub async fn run(shop: &Workshop, row: Model, signals: &Signals) -> Option<Ended> {
    let defaults = RetryPolicy::new(&shop.ctx.settings.queue, None, None);
    let halt = halt(shop, signals);
    let _over = halt.clone().drop_guard();
    let assignment = match prepare(&shop.ctx, row).await {
        Ok(Ok(assignment)) => assignment,
        Ok(Err(reason)) => {
            return Some(Ended {
                end: RunEnd::Failed(reason),
                retry: defaults,
            });
        }
        Err(error) => {
            let Stop::Failed(reason) = Stop::from(error) else {
                return None;
            };
            return Some(Ended {
                end: RunEnd::Failed(reason),
                retry: defaults,
            });
        }
    };
    let retry = assignment.retry.clone();
    let outcome = carry_out(shop, &assignment, signals, &halt).await;
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
    Some(Ended { end, retry })
}

/// One token for everything that stops a run.
fn halt(shop: &Workshop, signals: &Signals) -> CancellationToken {
    let halt = CancellationToken::new();
    let (lost, cancelled) = (signals.lost.clone(), signals.cancelled.clone());
    let (hand_back, token) = (shop.hand_back.clone(), halt.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = lost.cancelled() => {}
            () = cancelled.cancelled() => {}
            () = hand_back.cancelled() => {}
            // The run is over.
            () = token.cancelled() => {}
        }
        token.cancel();
    });
    halt
}

async fn carry_out(
    shop: &Workshop,
    assignment: &Assignment,
    signals: &Signals,
    halt: &CancellationToken,
) -> Result<(), Stop> {
    let journal = Journal::open(shop, assignment, signals).await?;
    journal.note(&greeting(shop, assignment)).await;
    let outcome = async {
        let mut steps = Steps::plan(shop, assignment, &journal, (halt, signals)).await?;
        let source = source::check_out(&mut steps).await?;
        steps.build(source.as_ref()).await?;
        rollout::roll_out(&mut steps, source.as_ref()).await
    }
    .await;
    if let Err(Stop::Failed(reason)) = &outcome {
        journal.note(&reason.text).await;
    }
    if signals.cancelled.is_cancelled() {
        journal.note("Cancelled.").await;
    }
    let closed = journal.close().await;
    clean_up(shop, assignment).await;
    outcome.and(closed)
}

fn greeting(shop: &Workshop, assignment: &Assignment) -> String {
    let Assignment {
        row,
        project,
        target,
        ..
    } = assignment;
    let what = row
        .ref_name
        .as_deref()
        .map(|name| format!(" of {name}"))
        .unwrap_or_default();
    format!(
        "Deployment {}{what} of project {} to target {}, attempt {}, on worker {}.",
        row.id, project.slug, target.slug, row.attempt, shop.name
    )
}

/// The folder of a run is of no use to anybody once the run is over.
async fn clean_up(shop: &Workshop, assignment: &Assignment) {
    let row = &assignment.row;
    if let Err(error) = shop.git.remove_run(row.id.0, row.fence).await {
        tracing::warn!(deployment.id = row.id.0, error = %error, "a run's folder was left behind");
    }
}
