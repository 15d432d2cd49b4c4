//! What runs need to know before they begin, read for all that begin at the same time.
//!
//! Secrets stay as they are stored; only `vault` opens them. It asks nobody: system-only.

use std::sync::Arc;

use super::{
    reason::{Code, Reason},
    store::{self, log::last_lines},
};
use crate::{
    db::{Db, distinct, padded},
    error::Result,
    id::{DeploymentId, ProjectId, StepId, TargetId},
    pipeline::Pipeline,
    project, target, variable, vault,
};

/// Which run asks.
#[derive(Clone, Copy, Debug)]
pub struct Errand {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its project.
    pub project: ProjectId,
    /// Its target.
    pub target: TargetId,
}

/// What it is told.
#[derive(Clone, Debug)]
pub struct Brief {
    /// The project.
    pub project: Arc<project::entity::Model>,
    /// Its pipeline, or why it cannot be followed.
    pub pipeline: Followed,
    /// The target.
    pub target: target::entity::Model,
    /// Plain values, the target's own after the project's.
    pub variables: Vec<variable::entity::Model>,
    /// Sealed values, the target's own after the project's.
    pub secrets: Vec<vault::store::Stored>,
    /// The commit that was live before, if the project has a repository.
    pub previous_commit: Option<String>,
    /// The number of the newest line of its log.
    pub last_line: i64,
}

/// A pipeline, read once for all who follow it, or the reason for which nobody can.
pub type Followed = std::result::Result<Arc<Pipeline>, Reason>;

/// What is known of a run when it begins.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What it needs to know, if its claim has seen that.
    pub brief: Option<Brief>,
    /// The rows of its steps, in order, if what it is going to do was written down with its claim,
    /// and with it the beginning of its log; else none.
    pub planned: Vec<StepId>,
}

/// Reads the pipeline of a project.
pub(super) fn followed(project: &project::entity::Model) -> Followed {
    let Some(source) = &project.pipeline_source else {
        return Err(Reason::new(
            Code::PipelineInvalid,
            "The project has no pipeline.",
        ));
    };
    project::service::parse_pipeline(source, project.repository.is_some())
        .map(Arc::new)
        .map_err(|error| Reason::new(Code::PipelineInvalid, error.to_string()))
}

/// Reads what these runs need, in order; nothing for a run whose project or target was deleted.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Db, errands: &[Errand]) -> Result<Vec<Option<Brief>>> {
    let conn = db.reader();
    let ids = padded(distinct(errands.iter().map(|errand| errand.project)));
    let places = padded(distinct(errands.iter().map(|errand| errand.target)));
    let deployments: Vec<DeploymentId> = errands.iter().map(|errand| errand.deployment).collect();
    let (projects, targets, variables, secrets, lines) = db
        .ask_at_once(|conn| async move {
            tokio::try_join!(
                biased;
                project::store::find_many(&conn, &ids),
                target::store::find_many(&conn, &places),
                variable::store::for_targets(&conn, &ids, &places),
                vault::store::for_targets(&conn, &ids, &places),
                last_lines(&conn, &deployments),
            )
        })
        .await?;
    let projects: Vec<(Arc<_>, Followed)> = projects
        .into_iter()
        .map(|project| {
            let followed = followed(&project);
            (Arc::new(project), followed)
        })
        .collect();
    let mut briefs = Vec::with_capacity(errands.len());
    for errand in errands {
        let project = projects.iter().find(|(row, _)| row.id == errand.project);
        let target = targets.iter().find(|row| row.id == errand.target);
        let (Some((project, pipeline)), Some(target)) = (project, target) else {
            briefs.push(None);
            continue;
        };
        let previous = if project.repository.is_some() {
            store::read::last_success(conn, errand.target, errand.deployment).await?
        } else {
            None
        };
        let is_own = |project: ProjectId, scope: i64| {
            project == errand.project && (scope == 0 || scope == errand.target.0)
        };
        let own_variables = variables
            .iter()
            .filter(|row| is_own(row.project_id, row.scope));
        let own_secrets = secrets
            .iter()
            .filter(|row| is_own(row.secret.project_id, row.secret.scope));
        let line = lines.iter().find(|(id, _)| *id == errand.deployment);
        briefs.push(Some(Brief {
            project: Arc::clone(project),
            pipeline: pipeline.clone(),
            target: target.clone(),
            variables: own_variables.cloned().collect(),
            secrets: own_secrets.cloned().collect(),
            previous_commit: previous.and_then(|row| row.commit_id),
            last_line: line.map_or(0, |(_, line)| *line),
        }));
    }
    Ok(briefs)
}
