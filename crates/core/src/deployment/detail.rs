//! A deployment with everything that a view of it shows, read with one query for each kind of part.
//!
//! It asks nobody for permission: its callers in `service` have.

use chrono::Utc;

use super::{
    entity::{deployment::Model, step},
    queue_place::{QueuePlace, Situation, WaitingFor, place, place_behind},
    status::Status,
    store::{self, read::Lines, scene::Scene},
};
use crate::{
    account,
    ctx::Ctx,
    db::{Db, distinct},
    error::Result,
    id::{DeploymentId, ProjectId, TargetId, UserId},
    lock,
    ports::Holder,
    process, project, settings, target,
};

/// What a view shows of a deployment's project.
#[derive(Clone, Debug)]
pub struct ProjectName {
    /// Which one it is.
    pub id: ProjectId,
    /// Its short name.
    pub slug: String,
    /// Its name for people.
    pub name: String,
}

impl From<&project::entity::Model> for ProjectName {
    fn from(row: &project::entity::Model) -> Self {
        Self {
            id: row.id,
            slug: row.slug.clone(),
            name: row.name.clone(),
        }
    }
}

/// What a view shows of a deployment's target.
#[derive(Clone, Debug)]
pub struct TargetName {
    /// Which one it is.
    pub id: TargetId,
    /// Its short name.
    pub slug: String,
    /// The deployment that holds it.
    pub holder_id: Option<DeploymentId>,
}

impl From<&target::entity::Model> for TargetName {
    fn from(row: &target::entity::Model) -> Self {
        Self {
            id: row.id,
            slug: row.slug.clone(),
            holder_id: row.holder_id,
        }
    }
}

/// What a view shows of the one who asked.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The account.
    pub id: UserId,
    /// Their name.
    pub name: String,
}

/// A deployment with everything that a view of it shows.
#[derive(Clone, Debug)]
pub struct Detail {
    /// The deployment.
    pub row: Model,
    /// Its project.
    pub project: ProjectName,
    /// Its target.
    pub target: TargetName,
    /// The steps of all its runs.
    pub steps: Vec<step::Model>,
    /// Its place in the line, while it is queued.
    pub queue: Option<QueuePlace>,
    /// Who asked for it, if the account still exists.
    pub requested_by: Option<Requester>,
}

/// Completes one row.
pub(super) async fn detail_of(
    ctx: &Ctx,
    row: Model,
    project: ProjectName,
    target: TargetName,
) -> Result<Detail> {
    let conn = ctx.db.reader();
    let queue = queue_of(ctx, &row).await?;
    let requested_by = match row.requested_by {
        Some(user) => account::store::find_user(conn, user).await?,
        None => None,
    };
    let requested_by = requested_by.map(|user| Requester {
        id: user.id,
        name: user.name,
    });
    Ok(Detail {
        steps: store::step::list(conn, row.id).await?,
        queue,
        row,
        project,
        target,
        requested_by,
    })
}

/// Completes many rows with one query for each kind of part.
pub(super) async fn details(ctx: &Ctx, rows: Vec<Model>) -> Result<Vec<Detail>> {
    let conn = ctx.db.reader();
    let queued = rows.iter().filter(|row| row.status == Status::Queued);
    let queued: Vec<DeploymentId> = queued.map(|row| row.id).collect();
    let situation = situation(&ctx.db, &ctx.settings.queue, &queued, Lines::Counted).await?;
    let projects =
        project::store::find_many(conn, &distinct(rows.iter().map(|row| row.project_id))).await?;
    let targets =
        target::store::find_many(conn, &distinct(rows.iter().map(|row| row.target_id))).await?;
    let users = distinct(rows.iter().filter_map(|row| row.requested_by));
    let users = account::store::find_users(conn, &users).await?;
    let ids: Vec<DeploymentId> = rows.iter().map(|row| row.id).collect();
    let mut steps = store::step::list_many(conn, &ids).await?;
    let mut details = Vec::with_capacity(rows.len());
    for row in rows {
        let project = projects.iter().find(|project| project.id == row.project_id);
        let target = targets.iter().find(|target| target.id == row.target_id);
        // Either may have been deleted between the queries; then the deployment is gone too.
        let (Some(project), Some(target)) = (project, target) else {
            continue;
        };
        let (own, others) = steps
            .into_iter()
            .partition(|step| step.deployment_id == row.id);
        steps = others;
        details.push(Detail {
            queue: place(&row, &situation),
            project: project.into(),
            target: target.into(),
            steps: own,
            requested_by: users
                .iter()
                .find(|user| Some(user.id) == row.requested_by)
                .map(|user| Requester {
                    id: user.id,
                    name: user.name.clone(),
                }),
            row,
        });
    }
    Ok(details)
}

/// The place of a row that was added just now, as the index says. Counting a long line would cost
/// more than all the rest of a request.
pub(super) async fn place_of_new(
    ctx: &Ctx,
    row: &Model,
    added: Option<(u64, Option<Holder>)>,
    scene: &Scene,
) -> Result<Option<QueuePlace>> {
    let Some((given, holder)) = added.filter(|_| row.status == Status::Queued) else {
        return queue_of(ctx, row).await;
    };
    if scene.locks == 0
        && let Some(place) = place_behind(given, holder)
    {
        return Ok(Some(place));
    }
    let seen = ctx.batches.arrivals.ask(row.id).await?;
    match place(row, &seen) {
        // The one before was taken from the index a moment ago, or is not in it yet.
        Some(place) if place.waiting_for == WaitingFor::OlderDeployment => queue_of(ctx, row).await,
        place => Ok(place.map(|place| QueuePlace {
            position: given,
            ..place
        })),
    }
}

async fn queue_of(ctx: &Ctx, row: &Model) -> Result<Option<QueuePlace>> {
    if row.status != Status::Queued {
        return Ok(None);
    }
    let situation = ctx.batches.situations.ask(row.id).await?;
    Ok(place(row, &situation))
}

/// What the places of these queued deployments follow from.
pub(super) async fn situation(
    db: &Db,
    queue: &settings::Queue,
    queued: &[DeploymentId],
    lines: Lines,
) -> Result<Situation> {
    let conn = db.reader();
    let mut situation = Situation {
        ahead: store::read::ahead(conn, queued, lines).await?,
        now_us: Utc::now().timestamp_micros(),
        max_running: queue.max_running,
        ..Situation::default()
    };
    if situation.ahead.iter().any(|ahead| ahead.locks > 0) {
        situation.locks = lock::store::active(conn).await?;
    }
    if situation.is_anybody_next() {
        let asked = db.ask_at_once(|conn| async move {
            let running = store::read::running(&conn);
            let capacity = process::store::capacity(&conn, queue.lease());
            tokio::try_join!(biased; running, capacity)
        });
        (situation.running, situation.capacity) = asked.await?;
    }
    Ok(situation)
}
