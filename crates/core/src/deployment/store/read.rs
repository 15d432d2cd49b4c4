//! Finding deployments.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, FromQueryResult,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, Order, Query, SelectStatement, SimpleExpr},
};

use crate::{
    db::padded,
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::Status,
    },
    error::Result,
    id::{DeploymentId, ProjectId, TargetId},
    lock,
};

/// One deployment.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &impl ConnectionTrait, id: DeploymentId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// These deployments.
///
/// # Errors
/// When the database fails.
pub async fn find_many(conn: &impl ConnectionTrait, ids: &[DeploymentId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .all(conn)
        .await?)
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
    // Not by `count`, which counts the rows of a query for all their columns.
    let counted: Option<i64> = Entity::find()
        .select_only()
        .column_as(Column::Id.count(), "running")
        .filter(Column::Status.eq(Status::Running))
        .into_tuple()
        .one(conn)
        .await?;
    Ok(counted.unwrap_or_default().unsigned_abs())
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

/// What is before a deployment in its target's line.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Ahead {
    /// The deployment.
    pub id: DeploymentId,
    /// How many are queued before it.
    pub queued: i64,
    /// The last of these.
    pub before: Option<DeploymentId>,
    /// The one that runs on the target.
    pub running: Option<DeploymentId>,
    /// How many locks there are on anything.
    pub locks: i64,
}

/// How long a line is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// As long as it is.
    Counted,
    /// Not at all, which costs the same however long it is; `queued` is 0.
    Uncounted,
}

/// What is before each of these in its target's line.
///
/// # Errors
/// When the database fails.
pub async fn ahead(
    conn: &impl ConnectionTrait,
    ids: &[DeploymentId],
    lines: Lines,
) -> Result<Vec<Ahead>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let older = |status: Status| {
        let mut line = in_line(status);
        line.and_where(Expr::col(("other", Column::Id)).lt(Expr::col(("own", Column::Id))));
        line
    };
    let other = || Expr::col(("other", Column::Id));
    let queued = match lines {
        Lines::Counted => nested(older(Status::Queued).expr(other().count())),
        Lines::Uncounted => Expr::value(0_i64),
    };
    // Not the greatest and the least of them: MySQL would read the whole line for these.
    let last = (("other", Column::Id), Order::Desc);
    let first = (("other", Column::Id), Order::Asc);
    let query = Query::select()
        .column(("own", Column::Id))
        .expr_as(queued, "queued")
        .expr_as(
            nested(
                older(Status::Queued)
                    .expr(other())
                    .order_by(last.0, last.1)
                    .limit(1),
            ),
            "before",
        )
        .expr_as(
            nested(
                in_line(Status::Running)
                    .expr(other())
                    .order_by(first.0, first.1)
                    .limit(1),
            ),
            "running",
        )
        .expr_as(
            nested(
                Query::select()
                    .expr(Expr::col(lock::entity::Column::Id).count())
                    .from(lock::entity::Entity),
            ),
            "locks",
        )
        .from_as(Entity, "own")
        .and_where(Expr::col(("own", Column::Id)).is_in(padded(ids.to_vec())))
        .to_owned();
    let statement = conn.get_database_backend().build(&query);
    Ok(Ahead::find_by_statement(statement).all(conn).await?)
}

/// The deployments of the same target in a state.
fn in_line(status: Status) -> SelectStatement {
    Query::select()
        .from_as(Entity, "other")
        .and_where(Expr::col(("other", Column::TargetId)).equals(("own", Column::TargetId)))
        .and_where(Expr::col(("other", Column::Status)).eq(status))
        .to_owned()
}

fn nested(query: &SelectStatement) -> SimpleExpr {
    SimpleExpr::SubQuery(None, Box::new(query.clone().into()))
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
