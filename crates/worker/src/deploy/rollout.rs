//! Bringing the build to its target: ship, prepare, switch, and take it back if it does not work.

use std::{fmt, path::PathBuf, sync::Arc};

use slipway_core::{
    db,
    deployment::{
        entity::deployment::Model,
        reason::Code,
        store::{
            claim::is_current,
            release::{self, Holder},
        },
    },
    error::Error,
    fail,
    id::DeploymentId,
    pipeline::Health as HealthSetting,
};
use tokio_util::sync::CancellationToken;

use super::{
    Stop, Workshop, persist, resume,
    source::Source,
    steps::{Place, Steps},
};
use crate::{
    health::{Health, HealthCheck},
    release::{Activation, Begun, ReleaseError, Releases, Ticket},
};

/// Steps of Slipway's own before the switch and with it.
const SHIP_AND_ACTIVATE: usize = 2;

/// Makes the build live on its target, or runs what a pipeline without a build does there.
pub(super) async fn roll_out(steps: &mut Steps<'_>, source: Option<&Source>) -> Result<(), Stop> {
    let folder = PathBuf::from(&steps.assignment.target.path);
    let Some(source) = source else {
        if resume::enter(steps).await? == Begun::Done {
            return resume::conclude(steps).await;
        }
        let place = Place {
            folder: &folder,
            source: None,
            release: None,
        };
        prove(steps, place).await?;
        return steps.complete().await;
    };
    let row = &steps.assignment.row;
    let ticket = Ticket {
        fence: row.fence,
        deployment: row.id.0,
    };
    let (path, deadline) = (folder.clone(), steps.deadline());
    let releases = Arc::new(blocking(move || Releases::open(&path, deadline)).await?);
    let release = releases.release_path(row.id.0);
    let begun = resume::enter(steps).await?;
    if begun == Begun::Done {
        return resume::conclude(steps).await;
    }
    let previous = go_live(steps, &releases, (ticket, begun), source).await?;
    let place = Place {
        folder: &release,
        source: Some(source),
        release: Some(&release),
    };
    let proven = prove(steps, place).await;
    match proven {
        Ok(()) => {
            steps.complete().await?;
            prune(steps, &releases, ticket, previous).await;
            Ok(())
        }
        Err(stop) => Err(take_back(steps, &releases, ticket, previous, stop).await),
    }
}

/// Ships, runs the release steps and switches. Answers what was live before.
async fn go_live(
    steps: &mut Steps<'_>,
    releases: &Arc<Releases>,
    (ticket, begun): (Ticket, Begun),
    source: &Source,
) -> Result<Option<i64>, Stop> {
    let assignment = steps.assignment;
    let pipeline = &assignment.pipeline;
    let own = Arc::clone(releases);
    // A live release of this number that this deployment did not begin is somebody else's.
    let is_live =
        begun == Begun::Again && blocking(move || own.active()).await? == Some(ticket.deployment);
    if is_live {
        // An earlier run got this far; a live release must not be touched.
        steps
            .journal
            .note("The release is live already, from an earlier run.")
            .await;
        steps
            .skip(SHIP_AND_ACTIVATE + pipeline.release.len())
            .await?;
    } else {
        let (own, from) = (Arc::clone(releases), source.path.clone());
        let (artifact, shared) = (pipeline.artifact.clone(), pipeline.activate.shared.clone());
        let shipped = blocking(move || {
            let release = own.ship(&ticket, &from, artifact.as_deref())?;
            own.link_shared(&ticket, &shared)?;
            Ok(release)
        });
        let release = steps.own(shipped).await?;
        let place = Place {
            folder: &release,
            source: Some(source),
            release: Some(&release),
        };
        steps.commands(&pipeline.release, place).await?;
    }
    let activation = if is_live {
        switch(steps, releases, ticket).await?
    } else {
        let (shop, journal) = (steps.shop, steps.journal);
        let (halt, signals, row) = (&steps.scope.cancel, steps.signals, &assignment.row);
        let own = Arc::clone(releases);
        steps
            .own(async move {
                let is_ours = is_ours(shop, row, &signals.lost).await?;
                if halt.is_cancelled() || !is_ours {
                    return Err(Stop::Halted);
                }
                fail::point("run.before_switch");
                let activation = blocking(move || own.activate(&ticket, ticket.deployment)).await?;
                journal
                    .note(&format!("Release {} is live.", ticket.deployment))
                    .await;
                Ok(activation)
            })
            .await?
    };
    let (Activation::Switched { previous } | Activation::AlreadyActive { previous }) = activation;
    fail::point("run.after_switch");
    record_live(steps, Some(&source.commit)).await?;
    Ok(previous)
}

/// Takes the ticket of a release that is live already, so that an older run is shut out.
async fn switch(
    steps: &Steps<'_>,
    releases: &Arc<Releases>,
    ticket: Ticket,
) -> Result<Activation, Stop> {
    if !is_ours(steps.shop, &steps.assignment.row, &steps.signals.lost).await? {
        return Err(Stop::Halted);
    }
    let own = Arc::clone(releases);
    blocking(move || own.activate(&ticket, ticket.deployment)).await
}

fn holder(row: &Model) -> Holder {
    Holder {
        target: row.target_id,
        deployment: row.id,
        fence: row.fence,
    }
}

async fn is_ours(shop: &Workshop, row: &Model, lost: &CancellationToken) -> Result<bool, Error> {
    let db = &shop.ctx.db;
    persist(shop.ctx.settings.queue.lease(), lost, || {
        is_current(db, row.id, row.fence)
    })
    .await
}

pub(super) async fn record_live(steps: &Steps<'_>, commit: Option<&str>) -> Result<(), Stop> {
    let (ctx, row) = (&steps.shop.ctx, &steps.assignment.row);
    let recorded = || async {
        let tx = ctx.db.begin().await?;
        // A run that was replaced after its switch must not overwrite what its successor wrote.
        if !release::set_live(&tx, holder(row), commit, db::now()).await? {
            return Ok(false);
        }
        fail::point("run.before_live_commit");
        tx.commit().await?;
        fail::point("run.after_live_commit");
        Ok(true)
    };
    match persist(ctx.settings.queue.lease(), &steps.signals.lost, recorded).await? {
        true => Ok(()),
        false => Err(Stop::Halted),
    }
}

/// Runs what follows the switch and asks whether the result works.
async fn prove(steps: &mut Steps<'_>, place: Place<'_>) -> Result<(), Stop> {
    let pipeline = &steps.assignment.pipeline;
    steps.commands(&pipeline.after, place).await?;
    let Some(health) = &pipeline.health else {
        return Ok(());
    };
    let (halt, journal) = (&steps.scope.cancel, steps.journal);
    steps
        .own(async {
            match check(health).run(halt).await {
                Health::Healthy { attempts } => {
                    journal
                        .note(&format!("Healthy after {attempts} request(s)."))
                        .await;
                    Ok(())
                }
                Health::Unhealthy(why) => {
                    let text = format!(
                        "{} did not answer {} in {} attempts: {why}.",
                        health.url, health.expect, health.attempts
                    );
                    Err(Stop::failed(Code::HealthCheckFailed, text))
                }
                Health::Cancelled => Err(Stop::Halted),
            }
        })
        .await
}

fn check(health: &HealthSetting) -> HealthCheck {
    HealthCheck {
        url: health.url.clone(),
        expect: health.expect,
        attempts_max: health.attempts,
        interval: health.interval,
        timeout: health.timeout,
    }
}

/// Puts the release before back, if the pipeline wants that and there is one; says so in the reason.
async fn take_back(
    steps: &Steps<'_>,
    releases: &Arc<Releases>,
    ticket: Ticket,
    previous: Option<i64>,
    stop: Stop,
) -> Stop {
    // A run that is handed back goes on elsewhere, with the release that is live now.
    if !matches!(stop, Stop::Failed(_)) && !steps.is_cancelled() {
        return stop;
    }
    let live = ticket.deployment;
    let outcome = match previous {
        _ if !steps.assignment.pipeline.rollback_on_failure => {
            format!("Release {live} stays live, as the pipeline wants no rollback.")
        }
        None => format!("Release {live} stays live: there is none before it to put back."),
        Some(previous) => restore(steps, releases, ticket, previous).await,
    };
    match stop {
        Stop::Failed(reason) => Stop::failed(reason.code, format!("{} {outcome}", reason.text)),
        Stop::Halted => {
            steps.journal.note(&outcome).await;
            Stop::Halted
        }
    }
}

/// Answers what became of it, as a sentence.
async fn restore(
    steps: &Steps<'_>,
    releases: &Arc<Releases>,
    ticket: Ticket,
    previous: i64,
) -> String {
    let own = Arc::clone(releases);
    match blocking(move || own.restore(&ticket, previous)).await {
        Ok(()) => {
            if let Err(error) = record_restored(steps, previous).await {
                tracing::warn!(error = ?error, "a restored release was not recorded");
            }
            format!("Release {previous} was put back.")
        }
        Err(Stop::Failed(reason)) => {
            format!("Release {previous} could not be put back. {}", reason.text)
        }
        Err(Stop::Halted) => format!("Release {previous} was not put back."),
    }
}

async fn record_restored(steps: &Steps<'_>, previous: i64) -> Result<(), Error> {
    let (ctx, row) = (&steps.shop.ctx, &steps.assignment.row);
    let restored = Some(DeploymentId(previous));
    let recorded = || async {
        let tx = ctx.db.begin().await?;
        release::set_restored(&tx, holder(row), restored).await?;
        Ok(tx.commit().await?)
    };
    persist(ctx.settings.queue.lease(), &steps.signals.lost, recorded).await
}

/// Removes old releases. What cannot be removed is no reason to fail a deployment that is live.
async fn prune(steps: &Steps<'_>, releases: &Arc<Releases>, ticket: Ticket, previous: Option<i64>) {
    let own = Arc::clone(releases);
    let keep = usize::try_from(steps.assignment.pipeline.activate.keep).unwrap_or(usize::MAX);
    let protect: Vec<i64> = previous.into_iter().collect();
    let pruned = match blocking(move || own.prune(&ticket, keep, &protect)).await {
        Ok(pruned) => pruned,
        Err(Stop::Failed(reason)) => {
            return steps
                .journal
                .note(&format!("Old releases were kept: {}", reason.text))
                .await;
        }
        Err(Stop::Halted) => return,
    };
    for failed in &pruned.failed {
        steps.journal.note(&format!("Not removed: {failed}")).await;
    }
    let removed: Vec<DeploymentId> = pruned.removed.into_iter().map(DeploymentId).collect();
    let conn = steps.shop.ctx.db.writer();
    let target = steps.assignment.target.id;
    if let Err(error) = release::set_pruned(conn, target, &removed).await {
        tracing::warn!(error = ?error, "removed releases were not recorded");
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReleaseError> + Send + 'static,
) -> Result<T, Stop> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| explain(&error)),
        Err(panicked) => {
            tracing::error!(error = ?panicked, "work on a release folder panicked");
            Err(Stop::failed(
                Code::Internal,
                "Slipway failed while it changed the release.",
            ))
        }
    }
}

pub(super) fn explain(error: &ReleaseError) -> Stop {
    match error {
        // The run is given up; whoever takes the deployment next decides.
        ReleaseError::TooLate => Stop::Halted,
        ReleaseError::StaleFence(_) => {
            Stop::failed(Code::StaleFence, format!("A newer run was here: {error}."))
        }
        ReleaseError::Refused(_) | ReleaseError::Damaged(_) | ReleaseError::Live(_) => {
            Stop::failed(
                Code::ConfigurationInvalid,
                format!("The release was refused: {error}."),
            )
        }
        ReleaseError::Locked | ReleaseError::NoRelease(_) | ReleaseError::Io { .. } => {
            unusable(error)
        }
    }
}

pub(super) fn unusable(why: impl fmt::Display) -> Stop {
    let text = format!("The target's folder cannot be used: {why}.");
    Stop::failed(Code::TargetUnusable, text)
}
