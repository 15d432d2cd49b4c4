//! The commit of a run, on this machine.

use std::path::PathBuf;

use slipway_core::{
    deployment::{
        entity::deployment::Model, reason::Code, run::Assignment, store::snapshot::Snapshot,
    },
    ports::Event,
    ssh,
};

use super::{Stop, Workshop, persist, steps::Steps};
use crate::{
    exec::Scope,
    git::{GitError, GitStore, Reach, Remote, Request},
    lease::Signals,
};

/// The files of one commit.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) commit: String,
    /// The branch, if that is what was asked for.
    pub(super) branch: Option<String>,
    /// What differs from the commit that was live before; everything, if there was none. Known only
    /// when some step has a condition.
    pub(super) changed: Option<Vec<String>>,
}

/// Fetches and checks out the commit, and writes down which one it is. A pipeline that
/// ships nothing needs no commit.
pub(super) async fn check_out(steps: &mut Steps<'_>) -> Result<Option<Source>, Stop> {
    let (shop, assignment, scope) = (steps.shop, steps.assignment, steps.scope);
    if !assignment.pipeline.needs_checkout() {
        return Ok(None);
    }
    let (journal, signals) = (steps.journal, steps.signals);
    let source = steps
        .own(async {
            let row = &assignment.row;
            let address = assignment.project.repository.as_deref().unwrap_or_default();
            let allowed = &shop.ctx.settings.repositories.local_paths;
            let remote = Remote::parse(address, allowed).map_err(|error| explain(&error))?;
            let request = Request {
                project: row.project_id.0,
                deployment: row.id.0,
                run: row.fence,
                remote: &remote,
                reference: row.ref_name.as_deref().unwrap_or_default(),
                pinned: row.commit_id.as_deref(),
            };
            let (git, _reach) = Box::pin(reach(shop, row, &remote)).await?;
            let checkout = Box::pin(git.checkout(request, scope)).await;
            let checkout = checkout.map_err(|error| explain(&error))?;
            journal
                .note(&format!("Commit {} {}", checkout.commit, checkout.subject))
                .await;
            let snapshot = Snapshot {
                commit_id: Some(checkout.commit.clone()),
                commit_subject: Some(short(&journal.masked(&checkout.subject))),
                commit_author: Some(short(&journal.masked(&checkout.author_name))),
            };
            record(shop, assignment, signals, &snapshot).await?;
            Ok(Source {
                changed: changed_files(steps.shop, assignment, &checkout.commit, scope).await?,
                path: checkout.path,
                commit: checkout.commit,
                branch: checkout.branch,
            })
        })
        .await?;
    Ok(Some(source))
}

/// The worker's repositories, with what the project has for reaching its own over SSH.
async fn reach(
    shop: &Workshop,
    row: &Model,
    remote: &Remote,
) -> Result<(GitStore, Option<Reach>), Stop> {
    if !remote.is_ssh() {
        return Ok((shop.git.clone(), None));
    }
    let access = match ssh::service::for_run(&shop.ctx, row).await? {
        Ok(access) => access,
        Err(reason) => return Err(Stop::Failed(reason)),
    };
    let reached = shop.git.reached_with(access, (row.id.0, row.fence));
    let (git, reach) = reached.map_err(|error| explain(&error))?;
    Ok((git, Some(reach)))
}

/// What the table has room for.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(250).collect()
}

async fn record(
    shop: &Workshop,
    assignment: &Assignment,
    signals: &Signals,
    snapshot: &Snapshot,
) -> Result<(), Stop> {
    let (ctx, row) = (&shop.ctx, &assignment.row);
    let written = || {
        let seen = (row.id, row.fence, snapshot.clone());
        ctx.batches.snapshots.ask(seen)
    };
    if !persist(ctx.settings.queue.lease(), &signals.lost, written).await? {
        return Err(Stop::Halted);
    }
    ctx.bus.publish(Event::Changed(row.id)).await;
    Ok(())
}

/// Asked for only when a step's condition may want to know.
async fn changed_files(
    shop: &Workshop,
    assignment: &Assignment,
    commit: &str,
    scope: &Scope,
) -> Result<Option<Vec<String>>, Stop> {
    if assignment.pipeline.steps().all(|step| step.when.is_none()) {
        return Ok(None);
    }
    let between = (assignment.previous_commit.as_deref(), commit);
    let project = assignment.project.id.0;
    let files = shop.git.changed_files(project, between, scope).await;
    files.map(Some).map_err(|error| explain(&error))
}

fn explain(error: &GitError) -> Stop {
    let code = match error {
        GitError::Cancelled => return Stop::Halted,
        GitError::Unreachable(_) | GitError::Failed(_) => Code::RepositoryUnreachable,
        GitError::UnknownRef(_) => Code::UnknownRef,
        GitError::Refused(_) => Code::ConfigurationInvalid,
    };
    let mut text = error.to_string();
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    Stop::failed(code, format!("{}.", text.trim_end_matches('.')))
}
