//! Who belongs to a project.

use chrono::{DateTime, Utc};

use super::open;
use crate::{
    access::{Actor, Permission, ProjectRole},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    deployment::store::revision,
    error::{Error, Result},
    id::UserId,
    project::{
        entity::{Model, membership},
        store,
    },
};

/// A project's members.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, key: &str) -> Result<Vec<membership::Model>> {
    let project = open(ctx, actor, key, Permission::ViewProject).await?.row;
    store::members(ctx.db.reader(), project.id).await
}

/// Gives a user a role in a project, or takes it away. A project keeps an Owner.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict when it would lose its last Owner.
pub async fn set(
    ctx: &Ctx,
    actor: &Actor,
    key: &str,
    change: (UserId, Option<ProjectRole>),
    now: DateTime<Utc>,
) -> Result<()> {
    let project = open(ctx, actor, key, Permission::GovernProject).await?.row;
    crate::db::retried(|| write(ctx, actor, &project, change, now)).await
}

async fn write(
    ctx: &Ctx,
    actor: &Actor,
    project: &Model,
    change: (UserId, Option<ProjectRole>),
    now: DateTime<Utc>,
) -> Result<()> {
    let ((user, role), id) = (change, project.id);
    let tx = ctx.db.begin().await?;
    let counted = revision::count(&tx).await?;
    store::lock(&tx, id).await?;
    let account = crate::account::store::find_user(&tx, user).await?;
    let before = store::role(&tx, id, user).await?;
    match role {
        Some(role) => {
            if account.is_none() {
                return Err(Error::NotFound("user"));
            }
            store::set_role(&tx, &counted, (id, user), role, now).await?;
        }
        None => {
            if !store::remove_member(&tx, &counted, id, user).await? {
                return Err(Error::NotFound("member"));
            }
        }
    }
    if store::count_owners(&tx, id).await? == 0 {
        return Err(Error::conflict(
            "last_owner",
            "a project keeps at least one Owner",
        ));
    }
    let action = if role.is_some() {
        Action::MemberSet
    } else {
        Action::MemberRemove
    };
    let name = account.map(|account| account.email).unwrap_or_default();
    let state = |role: Option<ProjectRole>| serde_json::json!({ "role": role });
    let entry = Entry::by(actor, action, now)
        .on(ObjectKind::User, user.0, &name)
        .in_project(id)
        .before(&state(before))
        .after(&state(role));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}
