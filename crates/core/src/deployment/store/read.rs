//! Finding deployments.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use crate::{
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::Status,
    },
    error::Result,
    id::{DeploymentId, ProjectId, TargetId},
};

/// One deployment.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, id: DeploymentId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Which deployments a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of these projects; none means of all.
    pub projects: Option<Vec<ProjectId>>,
    /// Only of this target.
    pub target: Option<TargetId>,
    /// Only in this state.
    pub status: Option<Status>,
    /// Only older than this one.
    pub before: Option<DeploymentId>,
}

/// Deployments, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &impl ConnectionTrait, filter: &Filter, limit: u64) -> Result<Vec<Model>> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(projects) = &filter.projects {
        query = query.filter(Column::ProjectId.is_in(projects.iter().copied()));
    }
    if let Some(target) = filter.target {
        query = query.filter(Column::TargetId.eq(target));
    }
    if let Some(status) = filter.status {
        query = query.filter(Column::Status.eq(status));
    }
    if let Some(before) = filter.before {
        query = query.filter(Column::Id.lt(before));
    }
    Ok(query.all(conn).await?)
}

/// How many deployments run.
///
/// # Errors
/// When the database fails.
pub async fn running(conn: &impl ConnectionTrait) -> Result<u64> {
    Ok(Entity::find()
        .filter(Column::Status.eq(Status::Running))
        .count(conn)
        .await?)
}

/// How many deployments there are of each open state.
#[derive(Clone, Debug, Default)]
pub struct Depth {
    /// They wait for somebody to agree.
    pub awaiting_approval: u64,
    /// They wait for their turn.
    pub queued: u64,
    /// They run.
    pub running: u64,
    /// When the oldest queued one was accepted.
    pub oldest: Option<DateTime<Utc>>,
}

/// Counts what is open.
///
/// # Errors
/// When the database fails.
pub async fn depth(conn: &impl ConnectionTrait) -> Result<Depth> {
    let counted: Vec<(Status, i64)> = Entity::find()
        .select_only()
        .column(Column::Status)
        .column_as(Column::Id.count(), "deployments")
        .filter(Column::Status.is_in(Status::OPEN))
        .group_by(Column::Status)
        .into_tuple()
        .all(conn)
        .await?;
    let number = |status: Status| {
        let found = counted.iter().find(|(of, _)| *of == status);
        found.map_or(0, |(_, number)| number.unsigned_abs())
    };
    let oldest: Option<DateTime<Utc>> = Entity::find()
        .select_only()
        .column(Column::CreatedAt)
        .filter(Column::Status.eq(Status::Queued))
        .order_by_asc(Column::Id)
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?;
    Ok(Depth {
        awaiting_approval: number(Status::AwaitingApproval),
        queued: number(Status::Queued),
        running: number(Status::Running),
        oldest,
    })
}

/// How many deployments wait.
///
/// # Errors
/// When the database fails.
pub async fn waiting(conn: &impl ConnectionTrait) -> Result<u64> {
    Ok(Entity::find()
        .filter(Column::Status.eq(Status::Queued))
        .count(conn)
        .await?)
}

/// A queued or running deployment of a target, for places in the line.
#[derive(Clone, Debug, sea_orm::FromQueryResult)]
pub struct InLine {
    /// The deployment.
    pub id: DeploymentId,
    /// Its target.
    pub target_id: TargetId,
    /// Queued or running.
    pub status: Status,
}

/// Everything queued or running on these targets, in the order of the queue.
///
/// # Errors
/// When the database fails.
pub async fn lines(conn: &impl ConnectionTrait, targets: &[TargetId]) -> Result<Vec<InLine>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Entity::find()
        .select_only()
        .columns([Column::Id, Column::TargetId, Column::Status])
        .filter(Column::TargetId.is_in(targets.iter().copied()))
        .filter(Column::Status.is_in([Status::Queued, Status::Running]))
        .order_by_asc(Column::Id)
        .into_model::<InLine>()
        .all(conn)
        .await?)
}

/// How many queued or running deployments a project, or one of its targets, has.
///
/// # Errors
/// When the database fails.
pub async fn count_open(
    conn: &impl ConnectionTrait,
    project: ProjectId,
    target: Option<TargetId>,
) -> Result<u64> {
    let mut query = Entity::find()
        .filter(Column::ProjectId.eq(project))
        .filter(Column::Status.is_in(Status::OPEN));
    if let Some(target) = target {
        query = query.filter(Column::TargetId.eq(target));
    }
    Ok(query.count(conn).await?)
}

/// Records what a run found out about the commit, and the pipeline that it follows.
///
/// # Errors
/// When the database fails.
pub async fn set_snapshot(
    conn: &impl ConnectionTrait,
    id: DeploymentId,
    fence: i64,
    snapshot: Snapshot,
) -> Result<bool> {
    use sea_orm::ActiveValue::Set;
    // Whatever a commit says about itself has to fit its column.
    let fitting = |text: String| text.chars().take(255).collect::<String>();
    let values = crate::deployment::entity::deployment::ActiveModel {
        commit_id: Set(snapshot.commit_id),
        commit_subject: Set(snapshot.commit_subject.map(fitting)),
        commit_author: Set(snapshot.commit_author.map(fitting)),
        pipeline: Set(Some(snapshot.pipeline)),
        ..crate::deployment::entity::deployment::ActiveModel::default()
    };
    let updated = Entity::update_many()
        .set(values)
        .filter(Column::Id.eq(id))
        .filter(Column::Fence.eq(fence))
        .filter(Column::Status.eq(Status::Running))
        .exec(conn)
        .await?;
    Ok(updated.rows_affected == 1)
}

/// What a deployment was made of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The exact commit.
    pub commit_id: Option<String>,
    /// The first line of its message.
    pub commit_subject: Option<String>,
    /// Who wrote it.
    pub commit_author: Option<String>,
    /// The pipeline as JSON.
    pub pipeline: String,
}

/// The newest deployment before this one that went live on the same target.
///
/// # Errors
/// When the database fails.
pub async fn last_success(
    conn: &impl ConnectionTrait,
    target: TargetId,
    before: DeploymentId,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::TargetId.eq(target))
        .filter(Column::Status.eq(Status::Succeeded))
        .filter(Column::Id.lt(before))
        .order_by_desc(Column::Id)
        .one(conn)
        .await?)
}
