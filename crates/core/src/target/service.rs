//! What people do with targets.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;

use super::{
    entity::{ActiveModel, Model, TargetKind},
    store,
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    deployment::{self, entity::release, store::revision},
    error::{Error, Result},
    field::{FolderPath, Slug},
    id::ProjectId,
    project,
    vault::sealed,
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
    let tx = ctx.db.begin().await?;
    let row = store::insert(&tx, values)
        .await
        .map_err(|error| slug_taken(error, slug.as_str()))?;
    let entry = entry(actor, Action::TargetCreate, &row, now).after(&audited(&row));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(row)
}

fn entry(actor: &Actor, action: Action, row: &Model, now: DateTime<Utc>) -> Entry {
    Entry::by(actor, action, now)
        .on(ObjectKind::Target, row.id.0, &row.slug)
        .in_project(row.project_id)
}

/// A target as the audit trail tells of it.
fn audited(row: &Model) -> serde_json::Value {
    serde_json::json!({
        "slug": row.slug,
        "kind": row.kind,
        "path": row.path,
        "strategy": row.strategy,
        "auto_deploy": row.auto_deploy,
    })
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
    let tx = ctx.db.begin().await?;
    let counted = revision::count(&tx).await?;
    store::update(&tx, &counted, target.id, values)
        .await
        .map_err(|error| slug_taken(error, &slug))?;
    let row = store::by_id(&tx, target.id).await?;
    let row = row.ok_or(Error::NotFound("target"))?;
    let entry = entry(actor, Action::TargetUpdate, &row, now);
    let entry = entry.changed(&audited(&target), &audited(&row));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(row)
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
    let entry = entry(actor, Action::TargetDelete, &target, crate::db::now());
    let entry = entry.before(&audited(&target));
    crate::db::retried(|| delete_closed(ctx, &target, &entry)).await
}

/// The lock comes first: it keeps new deployments out until this has been decided.
async fn delete_closed(ctx: &Ctx, target: &Model, entry: &Entry) -> Result<()> {
    let tx = ctx.db.begin().await?;
    store::lock(&tx, target.id).await?;
    let open = deployment::store::read::count_open(&tx, target.project_id, Some(target.id)).await?;
    project::service::refuse_open(open)?;
    store::delete(&tx, target.id).await?;
    // What owned them went with the target.
    sealed::store::remove_scope(&tx, target.project_id, target.id).await?;
    ctx.audit.record(&tx, entry).await?;
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
