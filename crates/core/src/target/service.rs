//! What people do with targets.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;

use super::{
    entity::{ActiveModel, Model, TargetKind},
    store,
};
use crate::{
    access::{Actor, Permission},
    ctx::Ctx,
    db::is_duplicate,
    deployment::{self, entity::release},
    error::{Error, Result},
    field::{FolderPath, Slug},
    id::ProjectId,
    project,
};

/// A new target.
#[derive(Clone, Debug)]
pub struct NewTarget {
    /// Its short name.
    pub slug: Slug,
    /// How it is reached.
    pub kind: TargetKind,
    /// The folder on it.
    pub path: FolderPath,
    /// How several hosts are taken, as JSON.
    pub strategy: String,
    /// Which branches are deployed by a push.
    pub auto_deploy: Option<String>,
}

/// Changes to a target; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct TargetChange {
    /// Its short name.
    pub slug: Option<Slug>,
    /// The folder on it.
    pub path: Option<FolderPath>,
    /// How several hosts are taken, as JSON.
    pub strategy: Option<String>,
    /// Which branches are deployed by a push.
    pub auto_deploy: Option<Option<String>>,
}

/// A project's targets.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Model>> {
    let project = project::service::open(ctx, actor, project, Permission::ViewProject)
        .await?
        .row;
    store::list(ctx.db.reader(), project.id).await
}

/// One target.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(ctx: &Ctx, actor: &Actor, project: &str, key: &str) -> Result<Model> {
    let project = project::service::open(ctx, actor, project, Permission::ViewProject)
        .await?
        .row;
    find(ctx, project.id, key).await
}

/// A target of a project that was opened before; system-only.
///
/// # Errors
/// [`Error::NotFound`].
pub(crate) async fn find(ctx: &Ctx, project: ProjectId, key: &str) -> Result<Model> {
    let row = store::find(ctx.db.reader(), project, key).await?;
    row.ok_or(Error::NotFound("target"))
}

/// Creates a target.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when the slug is taken.
pub async fn create(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    input: NewTarget,
    now: DateTime<Utc>,
) -> Result<Model> {
    let project = project::service::open(ctx, actor, project, Permission::ConfigureProject)
        .await?
        .row;
    let slug = input.slug.clone();
    let values = ActiveModel {
        project_id: Set(project.id),
        slug: Set(input.slug.into_string()),
        kind: Set(input.kind),
        path: Set(input.path.into_string()),
        strategy: Set(input.strategy),
        auto_deploy: Set(input.auto_deploy),
        epoch: Set(0),
        holder_id: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    store::insert(ctx.db.writer(), values)
        .await
        .map_err(|error| slug_taken(error, slug.as_str()))
}

fn slug_taken(error: sea_orm::DbErr, slug: &str) -> Error {
    if is_duplicate(&error) {
        Error::conflict(
            "slug_taken",
            format!("the project has a target `{slug}` already"),
        )
    } else {
        error.into()
    }
}

/// Changes a target.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when the slug is taken.
pub async fn update(
    ctx: &Ctx,
    actor: &Actor,
    address: (&str, &str),
    change: TargetChange,
    now: DateTime<Utc>,
) -> Result<Model> {
    let (project, key) = address;
    let project = project::service::open(ctx, actor, project, Permission::ConfigureProject)
        .await?
        .row;
    let target = find(ctx, project.id, key).await?;
    let mut values = ActiveModel {
        updated_at: Set(now),
        ..ActiveModel::default()
    };
    let slug = change
        .slug
        .as_ref()
        .map_or_else(|| target.slug.clone(), ToString::to_string);
    if change.slug.is_some() {
        values.slug = Set(slug.clone());
    }
    if let Some(path) = change.path {
        values.path = Set(path.into_string());
    }
    if let Some(strategy) = change.strategy {
        values.strategy = Set(strategy);
    }
    if let Some(auto_deploy) = change.auto_deploy {
        values.auto_deploy = Set(auto_deploy);
    }
    store::update(ctx.db.writer(), target.id, values)
        .await
        .map_err(|error| slug_taken(error, &slug))?;
    let row = store::by_id(ctx.db.writer(), target.id).await?;
    row.ok_or(Error::NotFound("target"))
}

/// Deletes a target with its history, unless something of it waits or runs. Its folder stays.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict.
pub async fn delete(ctx: &Ctx, actor: &Actor, project: &str, key: &str) -> Result<()> {
    let project = project::service::open(ctx, actor, project, Permission::ConfigureProject)
        .await?
        .row;
    let target = find(ctx, project.id, key).await?;
    crate::db::retried(|| delete_closed(ctx, &target)).await
}

/// The lock comes first: it keeps new deployments out until this has been decided.
async fn delete_closed(ctx: &Ctx, target: &Model) -> Result<()> {
    let tx = ctx.db.begin().await?;
    store::lock(&tx, target.id).await?;
    let open = deployment::store::read::count_open(&tx, target.project_id, Some(target.id)).await?;
    project::service::refuse_open(open)?;
    store::delete(&tx, target.id).await?;
    tx.commit().await?;
    Ok(())
}

/// The releases that a target keeps, newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn releases(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    key: &str,
) -> Result<Vec<release::Model>> {
    let target = get(ctx, actor, project, key).await?;
    deployment::store::release::list(ctx.db.reader(), target.id).await
}
