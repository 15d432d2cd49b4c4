//! What people do with deployments.

use chrono::{DateTime, Utc};

use super::{
    accept::{accept, admit, decide, forget, push},
    admission::NewDeployment,
    detail::{detail_of, details},
    entity::deployment::Model,
    line::LogLine,
    status::{Status, Transition},
    store::{
        self, Guard,
        apply::request_cancel,
        read::Filter,
        scene::{Asker, Question},
    },
    trigger::Trigger,
};
pub use super::{detail::Detail, request::DeployInput};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry as Audited, ObjectKind},
    ctx::Ctx,
    db,
    error::{Error, Result},
    fail,
    id::DeploymentId,
    notify::outbox::{self, deployment::Happening},
    ports::Event,
    project, target,
};

/// Asks for a deployment. The same Idempotency-Key with the same request answers the same one.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`], [`Error::QueueUnavailable`],
/// [`Error::QueueFull`], or a conflict with the project's policy.
pub async fn request(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    input: DeployInput,
) -> Result<Detail> {
    let question = Question {
        asker: Asker::User(actor.user),
        project: project.to_owned(),
        target: input.target.clone(),
    };
    let known = ctx.batches.scenes.ask(question).await?;
    let decided = decide(actor, known.scene, input)?;
    let accepted = accept(ctx, actor, decided).await?;
    accepted.ok_or_else(|| db::broken("a request that rests on nothing was not looked at"))
}

/// A deployment that the actor may do this with.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub(crate) async fn open(
    ctx: &Ctx,
    actor: &Actor,
    id: DeploymentId,
    permission: Permission,
) -> Result<(Model, project::entity::Model)> {
    let found = store::read::find(ctx.db.reader(), id).await?;
    let row = found.ok_or(Error::NotFound("deployment"))?;
    match project::service::open_by_id(ctx, actor, row.project_id, permission).await {
        Ok(project) => Ok((row, project.row)),
        Err(Error::NotFound(_)) => Err(Error::NotFound("deployment")),
        Err(error) => Err(error),
    }
}

/// One deployment.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(ctx: &Ctx, actor: &Actor, id: DeploymentId) -> Result<Detail> {
    let (row, project) = open(ctx, actor, id, Permission::ViewProject).await?;
    let target = target::store::by_id(ctx.db.reader(), row.target_id).await?;
    let target = target.ok_or(Error::NotFound("deployment"))?;
    detail_of(ctx, row, (&project).into(), (&target).into()).await
}

/// Which deployments to list; projects and targets by slug or id.
#[derive(Clone, Debug, Default)]
pub struct ListInput {
    /// Only of this project.
    pub project: Option<String>,
    /// Only of this target; needs the project.
    pub target: Option<String>,
    /// Only in this state.
    pub status: Option<Status>,
    /// Only older than this one.
    pub before: Option<DeploymentId>,
    /// How many.
    pub limit: u64,
}

/// Deployments that the actor may see, newest first.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`].
pub async fn list(ctx: &Ctx, actor: &Actor, input: &ListInput) -> Result<Vec<Detail>> {
    let mut filter = Filter {
        status: input.status,
        before: input.before,
        ..Filter::default()
    };
    match &input.project {
        Some(key) => {
            let project = project::service::open(ctx, actor, key, Permission::ViewProject).await?;
            if let Some(target) = &input.target {
                filter.target = Some(target::service::find(ctx, project.row.id, target).await?.id);
            }
            filter.projects = Some(vec![project.row.id]);
        }
        None if input.target.is_some() => {
            return Err(Error::invalid("target", "name the project too"));
        }
        None => filter.projects = project::service::visible(ctx, actor).await?,
    }
    let rows = store::read::list(ctx.db.reader(), &filter, input.limit).await?;
    details(ctx, rows).await
}

/// Stops a deployment: at once while it waits; while it runs its worker is told. Repeating it has
/// no further effect.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when it has ended another way.
pub async fn cancel(
    ctx: &Ctx,
    actor: &Actor,
    id: DeploymentId,
    now: DateTime<Utc>,
) -> Result<Detail> {
    open(ctx, actor, id, Permission::Deploy).await?;
    // A deployment may move between looking and writing, but only a few times.
    for _ in 0..5 {
        let (row, project) = open(ctx, actor, id, Permission::Deploy).await?;
        let done = match row.status {
            Status::Cancelled => true,
            Status::Succeeded | Status::Failed | Status::Superseded => {
                let message = format!("the deployment has {} already", ended(row.status));
                return Err(Error::conflict("already_ended", message));
            }
            Status::AwaitingApproval | Status::Queued => {
                cancel_waiting(ctx, actor, (&row, project.told), now).await?
            }
            Status::Running => {
                let first = cancel_running(ctx, actor, &row, now).await?;
                fail::point("cancel.before_publish");
                ctx.bus.publish(Event::Cancel(id)).await;
                first || row.cancel_requested_at.is_some()
            }
        };
        if done {
            break;
        }
    }
    get(ctx, actor, id).await
}

fn ended(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Superseded => "been superseded",
        Status::AwaitingApproval | Status::Queued | Status::Running | Status::Cancelled => "ended",
    }
}

fn audited(actor: &Actor, row: &Model, now: DateTime<Utc>) -> Audited {
    Audited::by(actor, Action::DeploymentCancel, now)
        .on(ObjectKind::Deployment, row.id.0, &row.id.to_string())
        .in_project(row.project_id)
        .before(&serde_json::json!({ "status": row.status }))
}

async fn cancel_running(ctx: &Ctx, actor: &Actor, row: &Model, now: DateTime<Utc>) -> Result<bool> {
    let tx = ctx.db.begin().await?;
    let first = request_cancel(&tx, row, actor.user, now).await?;
    if first {
        ctx.audit.record(&tx, &audited(actor, row, now)).await?;
    }
    tx.commit().await?;
    Ok(first)
}

async fn cancel_waiting(
    ctx: &Ctx,
    actor: &Actor,
    (row, told): (&Model, i64),
    now: DateTime<Utc>,
) -> Result<bool> {
    let stop = Transition::Cancel {
        by: Some(actor.user),
    };
    let won = db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let won = store::apply(&tx, row, Guard::State, &stop, now).await?;
        if won {
            ctx.audit.record(&tx, &audited(actor, row, now)).await?;
            outbox::tell(&tx, told, Happening::of(row, &stop, now)).await?;
        }
        tx.commit().await?;
        Ok(won)
    })
    .await?;
    if won {
        fail::point("cancel.before_index");
        ctx.process.counters.ended(Status::Cancelled);
        forget(ctx, row.entry()).await;
        ctx.bus.publish(Event::Changed(row.id)).await;
    }
    Ok(won)
}

/// Asks for the same thing again: a new deployment of the same commit. Repeating it answers the
/// same new deployment.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], a conflict unless it failed, was cancelled or was
/// superseded, and what [`request`] answers.
pub async fn retry(ctx: &Ctx, actor: &Actor, id: DeploymentId) -> Result<Detail> {
    let (row, project) = open(ctx, actor, id, Permission::Deploy).await?;
    if !matches!(
        row.status,
        Status::Failed | Status::Cancelled | Status::Superseded
    ) {
        let message = format!(
            "the deployment is {}; only one that ended badly is retried",
            row.status
        );
        return Err(Error::conflict("not_retryable", message));
    }
    let target = target::store::by_id(ctx.db.reader(), row.target_id).await?;
    let target = target.ok_or(Error::NotFound("deployment"))?;
    let wanted = NewDeployment {
        project: row.project_id,
        target: row.target_id,
        policy: project.queue_policy,
        ref_name: row.ref_name,
        commit_id: row.commit_id,
        trigger: Trigger::Retry,
        note: row.note,
        requested_by: Some(actor.user),
        retry_of: Some(row.id),
        idempotency: None,
        told: project.told,
        premise: None,
        entry: Audited::by(actor, Action::DeploymentRetry, db::now()),
    };
    let admitted = admit(ctx, wanted).await?;
    let admitted = admitted.ok_or_else(|| db::broken("a repetition was not looked at"))?;
    if admitted.is_new && admitted.row.status == Status::Queued {
        push(ctx, &admitted.row).await;
    }
    detail_of(ctx, admitted.row, (&project).into(), (&target).into()).await
}

/// Log lines after a number, some rows at a time; nothing when there are no more.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn log(ctx: &Ctx, actor: &Actor, id: DeploymentId, after: i64) -> Result<Vec<LogLine>> {
    open(ctx, actor, id, Permission::ViewProject).await?;
    store::log::read_after(ctx.db.reader(), id, after, LOG_ROWS).await
}

/// Rows of log that are read at once; a row holds at most some hundred kilobytes.
pub const LOG_ROWS: u64 = 4;
