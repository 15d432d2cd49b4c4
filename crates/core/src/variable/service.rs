//! What people do with variables.

use chrono::{DateTime, Utc};

use super::{entity::Model, store};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    field::VariableName,
    id::{ProjectId, TargetId},
    project, target,
};

/// Most bytes of a value: what one environment string may hold on Linux is 128 KiB with its name.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Checks a value that a step will find in its environment.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_value(value: &str) -> Result<(), String> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "must have at most {VALUE_BYTES_MAX} bytes, has {}",
            value.len()
        ));
    }
    if value.contains('\0') {
        return Err("must not hold a zero byte, which no environment can".to_owned());
    }
    Ok(())
}

/// The project and, if one is named, the target that a value belongs to.
pub(crate) async fn place(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    target: Option<&str>,
    permission: Permission,
) -> Result<(ProjectId, Option<TargetId>)> {
    let project = project::service::open(ctx, actor, project, permission)
        .await?
        .row;
    let Some(key) = target else {
        return Ok((project.id, None));
    };
    match target::service::find(ctx, project.id, key).await {
        Ok(target) => Ok((project.id, Some(target.id))),
        Err(Error::NotFound(_)) => Err(Error::invalid(
            "target",
            format!("the project has no target `{key}`"),
        )),
        Err(error) => Err(error),
    }
}

/// A project's variables, with the slugs of the targets that have their own.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Model>> {
    let (project, _) = place(ctx, actor, project, None, Permission::ViewProject).await?;
    store::list(ctx.db.reader(), project).await
}

/// A variable as it is written.
#[derive(Clone, Debug)]
pub struct VariableInput {
    /// Its name.
    pub name: VariableName,
    /// Its value.
    pub value: String,
    /// The target that it is for; the whole project otherwise.
    pub target: Option<String>,
}

/// Writes a variable.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`].
pub async fn put(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    input: VariableInput,
    now: DateTime<Utc>,
) -> Result<()> {
    let target = input.target.as_deref();
    let place = place(ctx, actor, project, target, Permission::ConfigureProject).await?;
    check_value(&input.value).map_err(|message| Error::invalid("value", message))?;
    let name = input.name.as_str();
    let entry =
        Entry::by(actor, Action::VariableSet, now).on_value(ObjectKind::Variable, place, name);
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        store::put(&tx, place, name, &input.value, now).await?;
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// Deletes a variable.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn delete(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    name: &str,
    target: Option<&str>,
) -> Result<()> {
    let place = place(ctx, actor, project, target, Permission::ConfigureProject).await?;
    let missing = || Error::NotFound("variable");
    let Ok(name) = name.parse::<VariableName>() else {
        return Err(missing());
    };
    let now = crate::db::now();
    let entry = Entry::by(actor, Action::VariableDelete, now).on_value(
        ObjectKind::Variable,
        place,
        name.as_str(),
    );
    let tx = ctx.db.begin().await?;
    if !store::delete(&tx, place, &name).await? {
        return Err(missing());
    }
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}
