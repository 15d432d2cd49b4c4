//! The commit of a run, on this machine.

use std::path::PathBuf;

use slipway_core::{
    deployment::{
        reason::Code,
        run::Assignment,
        store::read::{Snapshot, set_snapshot},
    },
    ports::Event,
};

use super::{Stop, Workshop, steps::Steps};
use crate::git::{GitError, Remote, Request};

/// The files of one commit.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) commit: String,
    /// The branch, if that is what was asked for.
    pub(super) branch: Option<String>,
    /// What differs from the commit that was live before, if there was one.
    pub(super) changed: Option<Vec<String>>,
}

/// Fetches and checks out the commit, and writes down what the run is made of. A pipeline that
/// ships nothing needs no commit.
pub(super) async fn check_out(steps: &mut Steps<'_>) -> Result<Option<Source>, Stop> {
    let (shop, assignment, halt) = (steps.shop, steps.assignment, steps.halt);
    let pipeline =
        serde_json::to_string(&assignment.pipeline).map_err(slipway_core::error::Error::from)?;
    let mut snapshot = Snapshot {
        commit_id: None,
        commit_subject: None,
        commit_author: None,
        pipeline,
    };
    if !assignment.pipeline.needs_checkout() {
        record(shop, assignment, snapshot).await?;
        return Ok(None);
    }
    let journal = steps.journal;
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
            let checkout = shop
                .git
                .checkout(request, halt)
                .await
                .map_err(|error| explain(&error))?;
            journal
                .note(&format!("Commit {} {}", checkout.commit, checkout.subject))
                .await;
            snapshot.commit_id = Some(checkout.commit.clone());
            snapshot.commit_subject = Some(short(&checkout.subject));
            snapshot.commit_author = Some(short(&checkout.author_name));
            record(shop, assignment, snapshot).await?;
            Ok(Source {
                changed: changed_files(steps.shop, assignment, &checkout.commit, halt).await?,
                path: checkout.path,
                commit: checkout.commit,
                branch: checkout.branch,
            })
        })
        .await?;
    Ok(Some(source))
}

/// What the table has room for.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(250).collect()
}

async fn record(shop: &Workshop, assignment: &Assignment, snapshot: Snapshot) -> Result<(), Stop> {
    let row = &assignment.row;
    if !set_snapshot(shop.ctx.db.writer(), row.id, row.fence, snapshot).await? {
        return Err(Stop::Halted);
    }
    shop.ctx.bus.publish(Event::Changed(row.id)).await;
    Ok(())
}

/// Asked for only when a step's condition may want to know.
async fn changed_files(
    shop: &Workshop,
    assignment: &Assignment,
    commit: &str,
    halt: &tokio_util::sync::CancellationToken,
) -> Result<Option<Vec<String>>, Stop> {
    let is_wanted = assignment.pipeline.steps().any(|step| step.when.is_some());
    let Some(previous) = assignment.previous_commit.as_deref().filter(|_| is_wanted) else {
        return Ok(None);
    };
    let project = assignment.project.id.0;
    match shop
        .git
        .changed_files(project, [previous, commit], halt)
        .await
    {
        Ok(files) => Ok(Some(files)),
        // The commit before may be gone from the repository; then nobody can say what changed.
        Err(GitError::UnknownRef(_)) => Ok(None),
        Err(error) => Err(explain(&error)),
    }
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
    Stop::failed(code, format!("{text}."))
}
