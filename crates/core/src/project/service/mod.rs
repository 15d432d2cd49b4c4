//! What people do with projects.

pub mod members;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;

use super::{
    entity::{ActiveModel, Model},
    policy::{ATTEMPTS_MAX, DELAY_MAX, QueuePolicy},
    repository::RepositoryUrl,
    store,
};
use crate::{
    access::{Actor, Permission, ProjectRole, allows},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    deployment::{self, store::revision},
    error::{Error, Result},
    field::{DisplayName, RefName, Slug},
    id::ProjectId,
    pipeline::{self, Pipeline},
};

/// A project that the actor may see, and what they are in it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The project.
    pub row: Model,
    /// The actor's role in it.
    pub role: Option<ProjectRole>,
}

/// The project that an address names, if the actor may do this with it. What they may not see does
/// not exist for them.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn open(ctx: &Ctx, actor: &Actor, key: &str, permission: Permission) -> Result<Seen> {
    let found = store::find(ctx.db.reader(), key).await?;
    let row = found.ok_or(Error::NotFound("project"))?;
    seen(ctx, actor, row, permission).await
}

/// The same for a project that was reached by one of its parts.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn open_by_id(
    ctx: &Ctx,
    actor: &Actor,
    id: ProjectId,
    permission: Permission,
) -> Result<Seen> {
    open(ctx, actor, &id.to_string(), permission).await
}

async fn seen(ctx: &Ctx, actor: &Actor, row: Model, permission: Permission) -> Result<Seen> {
    let role = store::role(ctx.db.reader(), row.id, actor.user).await?;
    let at = Some((row.id, role));
    if !actor.may(Permission::ViewProject, at) {
        return Err(Error::NotFound("project"));
    }
    actor.require(permission, at)?;
    Ok(Seen { row, role })
}

/// The projects that the actor may see; none means all of them.
///
/// # Errors
/// When the database fails.
pub async fn visible(ctx: &Ctx, actor: &Actor) -> Result<Option<Vec<ProjectId>>> {
    let limits = actor.limits.as_ref();
    let only = limits.and_then(|limits| limits.projects.clone());
    if allows(actor.role, None, Permission::ViewProject) {
        return Ok(only);
    }
    let mut own = store::of_user(ctx.db.reader(), actor.user).await?;
    own.retain(|id| only.as_ref().is_none_or(|only| only.contains(id)));
    Ok(Some(own))
}

/// Projects that the actor may see, in order of id, above `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(ctx: &Ctx, actor: &Actor, after: ProjectId, limit: u64) -> Result<Vec<Model>> {
    let only = visible(ctx, actor).await?;
    store::list(ctx.db.reader(), only.as_deref(), after, limit).await
}

/// A new project.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its short name.
    pub slug: Slug,
    /// Its name for people.
    pub name: DisplayName,
    /// Where its commits come from; without one it may have only `after` steps.
    pub repository: Option<RepositoryUrl>,
    /// What is deployed unless the request says otherwise.
    pub default_branch: RefName,
    /// What happens to requests while others wait.
    pub queue_policy: QueuePolicy,
    /// Most runs of a deployment, if not the configured number.
    pub retry_attempts: Option<u32>,
    /// Waits between runs in milliseconds, if not the configured ones.
    pub retry_delays: Option<Vec<u64>>,
}

/// Checks a project's own retry numbers.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_attempts(attempts: u32) -> Result<u32, String> {
    if (1..=ATTEMPTS_MAX).contains(&attempts) {
        Ok(attempts)
    } else {
        Err(format!("must be 1 to {ATTEMPTS_MAX}"))
    }
}

/// Checks a project's own waits.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_delays(delays: Vec<u64>) -> Result<Vec<u64>, String> {
    let longest = u64::try_from(DELAY_MAX.as_millis()).unwrap_or(u64::MAX);
    if delays.is_empty() || delays.len() > 10 || delays.iter().any(|delay| *delay > longest) {
        return Err(format!(
            "must be 1 to 10 waits of at most {longest} milliseconds each"
        ));
    }
    Ok(delays)
}

/// Creates a project; the creator becomes its Owner.
///
/// # Errors
/// [`Error::Forbidden`], or a conflict when the slug is taken.
pub async fn create(
    ctx: &Ctx,
    actor: &Actor,
    input: NewProject,
    now: DateTime<Utc>,
) -> Result<Model> {
    actor.require(Permission::CreateProject, None)?;
    let slug = input.slug.clone();
    let values = ActiveModel {
        slug: Set(input.slug.into_string()),
        name: Set(input.name.into_string()),
        repository: Set(input.repository.map(|url| url.as_str().to_owned())),
        default_branch: Set(input.default_branch.into_string()),
        queue_policy: Set(input.queue_policy),
        retry_attempts: Set(input.retry_attempts.map(i64::from)),
        retry_delays: Set(input
            .retry_delays
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?),
        created_at: Set(now),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    let tx = ctx.db.begin().await?;
    let row = store::insert(&tx, values, actor.user, now)
        .await
        .map_err(|error| slug_taken(error, slug.as_str()))?;
    let entry = entry(actor, Action::ProjectCreate, &row, now).after(&audited(&row));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(row)
}

fn entry(actor: &Actor, action: Action, row: &Model, now: DateTime<Utc>) -> Entry {
    Entry::by(actor, action, now)
        .on(ObjectKind::Project, row.id.0, &row.slug)
        .in_project(row.id)
}

/// A project as the audit trail tells of it; its pipeline has entries of its own.
fn audited(row: &Model) -> serde_json::Value {
    serde_json::json!({
        "slug": row.slug,
        "name": row.name,
        "repository": row.repository,
        "default_branch": row.default_branch,
        "queue_policy": row.queue_policy,
        "retry_attempts": row.retry_attempts,
        "retry_delays": row.retry_delays,
    })
}

fn slug_taken(error: sea_orm::DbErr, slug: &str) -> Error {
    if is_duplicate(&error) {
        Error::conflict("slug_taken", format!("there is a project `{slug}` already"))
    } else {
        error.into()
    }
}

/// Changes to a project; what is `None` stays. The inner `None` removes a value.
#[derive(Clone, Debug, Default)]
pub struct ProjectChange {
    /// Its short name.
    pub slug: Option<Slug>,
    /// Its name for people.
    pub name: Option<DisplayName>,
    /// Where its commits come from.
    pub repository: Option<Option<RepositoryUrl>>,
    /// What is deployed unless the request says otherwise.
    pub default_branch: Option<RefName>,
    /// What happens to requests while others wait.
    pub queue_policy: Option<QueuePolicy>,
    /// Most runs of a deployment.
    pub retry_attempts: Option<Option<u32>>,
    /// Waits between runs in milliseconds.
    pub retry_delays: Option<Option<Vec<u64>>>,
}

/// Changes a project.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when the slug is taken.
pub async fn update(
    ctx: &Ctx,
    actor: &Actor,
    key: &str,
    change: ProjectChange,
    now: DateTime<Utc>,
) -> Result<Model> {
    let project = open(ctx, actor, key, Permission::ConfigureProject)
        .await?
        .row;
    let slug = change
        .slug
        .as_ref()
        .map_or_else(|| project.slug.clone(), ToString::to_string);
    let values = values(change, now)?;
    let tx = ctx.db.begin().await?;
    let counted = revision::count(&tx).await?;
    store::update(&tx, &counted, project.id, values)
        .await
        .map_err(|error| slug_taken(error, &slug))?;
    let row = store::find(&tx, &project.id.to_string()).await?;
    let row = row.ok_or(Error::NotFound("project"))?;
    let entry = entry(actor, Action::ProjectUpdate, &row, now);
    let entry = entry.changed(&audited(&project), &audited(&row));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(row)
}

/// What a change writes.
fn values(change: ProjectChange, now: DateTime<Utc>) -> Result<ActiveModel> {
    let mut values = ActiveModel {
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    if let Some(slug) = change.slug {
        values.slug = Set(slug.into_string());
    }
    if let Some(name) = change.name {
        values.name = Set(name.into_string());
    }
    if let Some(repository) = change.repository {
        values.repository = Set(repository.map(|url| url.as_str().to_owned()));
    }
    if let Some(branch) = change.default_branch {
        values.default_branch = Set(branch.into_string());
    }
    if let Some(policy) = change.queue_policy {
        values.queue_policy = Set(policy);
    }
    if let Some(attempts) = change.retry_attempts {
        values.retry_attempts = Set(attempts.map(i64::from));
    }
    if let Some(delays) = change.retry_delays {
        values.retry_delays = Set(delays.as_ref().map(serde_json::to_string).transpose()?);
    }
    Ok(values)
}

/// Deletes a project with its history, unless something of it waits or runs.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict.
pub async fn delete(ctx: &Ctx, actor: &Actor, key: &str) -> Result<()> {
    let project = open(ctx, actor, key, Permission::DeleteProject).await?.row;
    let entry = entry(actor, Action::ProjectDelete, &project, crate::db::now());
    let entry = entry.before(&audited(&project));
    crate::db::retried(|| delete_closed(ctx, project.id, &entry)).await
}

/// The lock comes first: it keeps new deployments out until this has been decided.
async fn delete_closed(ctx: &Ctx, id: ProjectId, entry: &Entry) -> Result<()> {
    let tx = ctx.db.begin().await?;
    store::lock(&tx, id).await?;
    refuse_open(deployment::store::read::count_open(&tx, id, None).await?)?;
    store::delete(&tx, id).await?;
    ctx.audit.record(&tx, entry).await?;
    tx.commit().await?;
    Ok(())
}

/// Refuses to take something away under deployments that wait or run.
pub(crate) fn refuse_open(open: u64) -> Result<()> {
    if open == 0 {
        return Ok(());
    }
    Err(Error::conflict(
        "deployments_open",
        format!("{open} deployment(s) wait or run; cancel them first"),
    ))
}

/// The pipeline as it was written, and as it was understood.
///
/// # Errors
/// [`Error::NotFound`]: no such project, or it has no pipeline yet.
pub async fn pipeline(ctx: &Ctx, actor: &Actor, key: &str) -> Result<(String, Pipeline)> {
    let project = open(ctx, actor, key, Permission::ViewProject).await?.row;
    let source = project.pipeline_source.ok_or(Error::NotFound("pipeline"))?;
    let pipeline = parse_pipeline(&source, project.repository.is_some())?;
    Ok((source, pipeline))
}

/// Reads a pipeline as this project may have it.
///
/// # Errors
/// [`Error::Invalid`] with line and column.
pub fn parse_pipeline(source: &str, has_repository: bool) -> Result<Pipeline> {
    let pipeline = pipeline::parse(source)
        .map_err(|errors| Error::Invalid(errors.0.iter().map(in_source).collect()))?;
    if pipeline.needs_checkout() && !has_repository {
        return Err(Error::invalid(
            "source",
            "line 1, column 1: this project has no repository, so its pipeline may have only \
             `after` steps, `env` and `health`",
        ));
    }
    Ok(pipeline)
}

fn in_source(error: &pipeline::PipelineError) -> crate::error::FieldError {
    crate::error::FieldError::new("source", error.to_string())
}

/// Replaces the pipeline.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`] with line and column.
pub async fn set_pipeline(
    ctx: &Ctx,
    actor: &Actor,
    key: &str,
    source: &str,
    now: DateTime<Utc>,
) -> Result<Pipeline> {
    let project = open(ctx, actor, key, Permission::ConfigureProject)
        .await?
        .row;
    let pipeline = parse_pipeline(source, project.repository.is_some())?;
    let values = ActiveModel {
        pipeline_source: Set(Some(source.to_owned())),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    let state = |source: Option<&str>| serde_json::json!({ "source": source });
    let entry = entry(actor, Action::PipelineUpdate, &project, now).changed(
        &state(project.pipeline_source.as_deref()),
        &state(Some(source)),
    );
    let tx = ctx.db.begin().await?;
    let counted = revision::count(&tx).await?;
    store::update(&tx, &counted, project.id, values).await?;
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(pipeline)
}
