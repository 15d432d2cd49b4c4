//! What is told of a deployment, read when somebody is told.

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::{
    account,
    db::distinct,
    deployment::{
        entity::{
            deployment::{Column, Entity, Model},
            log_chunk, release, step,
        },
        reason::Reason,
        release::ReleaseState,
        status::Status,
        step::StepStatus,
        store::log::lines,
        trigger::Trigger,
    },
    error::Result,
    id::{DeploymentId, ProjectId, ReleaseId, StepId, TargetId, UserId},
    notify::notice::{Facts, Failure},
    project::{self, entity as projects},
    target::entity as targets,
};

/// Lines of a failed step that are told.
const LINES: usize = 20;
/// Most characters of a line that are told.
const LINE_CHARACTERS_MAX: usize = 500;
/// Rows of the log in which they are looked for.
const CHUNKS: u64 = 4;

/// What things and people are called.
#[derive(Debug, Default)]
pub struct Names {
    projects: Vec<(ProjectId, String)>,
    targets: Vec<(TargetId, String)>,
    people: Vec<(UserId, String)>,
}

impl Names {
    /// A project's name.
    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<String> {
        named(&self.projects, id)
    }

    /// A target's slug.
    #[must_use]
    pub fn target(&self, id: TargetId) -> Option<String> {
        named(&self.targets, id)
    }

    /// Somebody's name.
    #[must_use]
    pub fn person(&self, id: UserId) -> Option<String> {
        named(&self.people, id)
    }
}

fn named<I: PartialEq + Copy>(names: &[(I, String)], wanted: I) -> Option<String> {
    let found = names.iter().find(|(id, _)| *id == wanted);
    found.map(|(_, name)| name.clone())
}

/// The names of everything that these deployments are about, and of these people.
///
/// # Errors
/// When the database fails.
pub async fn names(
    conn: &impl ConnectionTrait,
    rows: &[&Model],
    people: impl Iterator<Item = UserId>,
) -> Result<Names> {
    let target_ids = distinct(rows.iter().map(|row| row.target_id));
    let people = people.chain(rows.iter().filter_map(|row| row.requested_by));
    let targets: Vec<(TargetId, String)> = targets::Entity::find()
        .select_only()
        .columns([targets::Column::Id, targets::Column::Slug])
        .filter(targets::Column::Id.is_in(target_ids))
        .into_tuple()
        .all(conn)
        .await?;
    let projects = of_projects(conn, rows.iter().map(|row| row.project_id)).await?;
    let people = account::store::find_users(conn, &distinct(people)).await?;
    Ok(Names {
        targets,
        projects,
        people: people.into_iter().map(|row| (row.id, row.name)).collect(),
    })
}

/// The names of projects.
///
/// # Errors
/// When the database fails.
pub async fn of_projects(
    conn: &impl ConnectionTrait,
    ids: impl Iterator<Item = ProjectId>,
) -> Result<Vec<(ProjectId, String)>> {
    let rows: Vec<projects::Model> = project::store::find_many(conn, &distinct(ids)).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// What is told of a deployment.
#[must_use]
pub fn of(row: &Model, names: &Names) -> Facts {
    let by = row.requested_by.and_then(|by| names.person(by));
    let by_itself = match row.trigger_kind {
        Trigger::Webhook => "a push",
        Trigger::Schedule => "a schedule",
        Trigger::Manual | Trigger::Retry | Trigger::Rollback => "somebody",
    };
    let span = row.started_at.zip(row.finished_at);
    Facts {
        id: row.id,
        reference: row.ref_name.clone(),
        commit: row.commit_id.clone(),
        subject: row.commit_subject.clone(),
        author: row.commit_author.clone(),
        requested_by: by.unwrap_or_else(|| by_itself.to_owned()),
        note: row.note.clone(),
        attempt: u32::try_from(row.attempt).unwrap_or_default().max(1),
        duration_ms: span.and_then(|(from, to)| u64::try_from((to - from).num_milliseconds()).ok()),
    }
}

/// What went wrong, with the last lines of the step that failed.
///
/// # Errors
/// When the database fails.
pub async fn failure(conn: &impl ConnectionTrait, row: &Model, reason: &Reason) -> Result<Failure> {
    let failed = failed_step(conn, row).await?;
    let lines = match &failed {
        Some(step) => last_lines(conn, row.id, step.id).await?,
        None => Vec::new(),
    };
    Ok(Failure {
        code: reason.code.as_str().to_owned(),
        sentence: reason.text.clone(),
        step: failed.map(|step| step.name),
        lines,
    })
}

async fn failed_step(conn: &impl ConnectionTrait, row: &Model) -> Result<Option<step::Model>> {
    Ok(step::Entity::find()
        .filter(step::Column::DeploymentId.eq(row.id))
        .filter(step::Column::Fence.eq(row.fence))
        .filter(step::Column::Status.eq(StepStatus::Failed))
        .order_by_asc(step::Column::Position)
        .one(conn)
        .await?)
}

async fn last_lines(
    conn: &impl ConnectionTrait,
    deployment: DeploymentId,
    step: StepId,
) -> Result<Vec<String>> {
    let mut rows = log_chunk::Entity::find()
        .filter(log_chunk::Column::DeploymentId.eq(deployment))
        .filter(log_chunk::Column::StepId.eq(step))
        .order_by_desc(log_chunk::Column::LastLine)
        .limit(CHUNKS)
        .all(conn)
        .await?;
    rows.reverse();
    let all: Vec<String> = rows
        .iter()
        .flat_map(lines)
        .map(|line| bare(&line.text))
        .collect();
    let from = all.len().saturating_sub(LINES);
    Ok(all.into_iter().skip(from).collect())
}

/// A line without colours and other control sequences, cut to what anybody reads.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next() == Some('[') {
                // Up to the letter that ends the sequence.
                let _ended = characters.find(|c| ('@'..='~').contains(c));
            }
        } else if !character.is_control() || character == '\t' {
            bare.push(character);
        }
    }
    if bare.chars().count() > LINE_CHARACTERS_MAX {
        let cut = bare.chars().take(LINE_CHARACTERS_MAX - 1);
        return cut.chain(['…']).collect();
    }
    bare
}

/// How the deployment before this one on its target ended, if one ran to its end.
///
/// # Errors
/// When the database fails.
pub async fn ended_before(conn: &impl ConnectionTrait, row: &Model) -> Result<Option<Status>> {
    Ok(Entity::find()
        .select_only()
        .column(Column::Status)
        .filter(Column::TargetId.eq(row.target_id))
        .filter(Column::Id.ne(row.id))
        .filter(Column::Status.is_in([Status::Succeeded, Status::Failed]))
        .order_by_desc(Column::FinishedAt)
        .order_by_desc(Column::Id)
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?)
}

/// The newest deployment of a target that succeeded, or 0.
///
/// # Errors
/// When the database fails.
pub async fn last_success(conn: &impl ConnectionTrait, target: TargetId) -> Result<i64> {
    let last: Option<DeploymentId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::TargetId.eq(target))
        .filter(Column::Status.eq(Status::Succeeded))
        .order_by_desc(Column::Id)
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?;
    Ok(last.map_or(0, |id| id.0))
}

/// Whether this deployment's release was taken back.
///
/// # Errors
/// When the database fails.
pub async fn was_taken_back(conn: &impl ConnectionTrait, row: &Model) -> Result<bool> {
    let release: Option<ReleaseId> = release::Entity::find()
        .select_only()
        .column(release::Column::Id)
        .filter(release::Column::TargetId.eq(row.target_id))
        .filter(release::Column::DeploymentId.eq(row.id))
        .filter(release::Column::State.eq(ReleaseState::Failed))
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?;
    Ok(release.is_some())
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn lines_are_told_without_colours() {
        assert_eq!(bare("\u{1b}[1;31merror\u{1b}[0m: \tno\u{7}"), "error: \tno");
        assert_eq!(bare(&"x".repeat(1000)).chars().count(), 500);
        assert_eq!(bare("\u{1b}["), "");
    }
}
