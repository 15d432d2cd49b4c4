//! What people do with secrets (write them, never read them), and how a run gets them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    cipher::VaultError,
    rotation::{self, entity::KeyState},
    sealed::{self, Place},
    store::{self, Stored},
    usage::{self, Use, Used},
    value::SecretValue,
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    deployment::{
        self,
        entity::deployment::Model,
        reason::{Code, Reason},
    },
    error::{Error, Result},
    field::VariableName,
    id::{DeploymentId, ProjectId, SecretId, TargetId},
    pipeline::Pipeline,
    variable,
};

/// Shorter values cannot be masked in a log without masking half of it.
pub const VALUE_BYTES_MIN: usize = slipway_redact::VALUE_MIN_BYTES;

/// Names and dates of a project's secrets; never their values.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Stored>> {
    let (project, _) =
        variable::service::place(ctx, actor, project, None, Permission::ViewProject).await?;
    store::list(ctx.db.reader(), project).await
}

/// A secret as it is written.
#[derive(Debug)]
pub struct SecretInput {
    /// Its name.
    pub name: VariableName,
    /// Its value.
    pub value: SecretString,
    /// The target that it is for; the whole project otherwise.
    pub target: Option<String>,
}

/// Writes a secret; the new value is its next version. Answers whether it is new.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`].
pub async fn put(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    input: SecretInput,
    now: DateTime<Utc>,
) -> Result<bool> {
    let place = variable::service::place(
        ctx,
        actor,
        project,
        input.target.as_deref(),
        Permission::ConfigureProject,
    )
    .await?;
    let value = input.value.expose_secret();
    if !slipway_redact::can_be_masked(value.as_bytes()) {
        let message = format!(
            "must have at least {VALUE_BYTES_MIN} bytes besides blanks around them: a shorter one \
             cannot be masked in logs"
        );
        return Err(Error::invalid("value", message));
    }
    variable::service::check_value(value).map_err(|message| Error::invalid("value", message))?;
    let (name, value) = (input.name.as_str(), value.as_bytes());
    let entry = Entry::by(actor, Action::SecretSet, now).on_value(ObjectKind::Secret, place, name);
    loop {
        let written = crate::db::retried(|| write(ctx, (place, name), value, &entry));
        let written = written.await?;
        if let Some(is_new) = written {
            return Ok(is_new);
        }
    }
}

/// Nothing when another writer has just made the row: then there is a version to follow.
async fn write(
    ctx: &Ctx,
    (place, name): ((ProjectId, Option<TargetId>), &str),
    plain: &[u8],
    entry: &Entry,
) -> Result<Option<bool>> {
    let now = entry.at();
    let tx = ctx.db.begin().await?;
    let known = store::find_locked(&tx, place, name).await?;
    let is_new = known.is_none();
    let (id, version) = match known {
        Some(row) => (row.id, row.version),
        None => match store::reserve(&tx, place, name, now).await {
            Err(error) if is_duplicate(&error) => return Ok(None),
            reserved => (reserved?, 0),
        },
    };
    let input = sealed::Input {
        place: sealed_at(place, id, name),
        version: version + 1,
        plain,
        by: entry.actor_id(),
    };
    let value = sealed::put(&tx, &ctx.keys, input, now).await?;
    store::write(&tx, id, version + 1, value, now).await?;
    let state = serde_json::json!({ "target_id": place.1, "version": version + 1 });
    let entry = entry
        .clone()
        .on(ObjectKind::Secret, id.0, name)
        .after(&state);
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(Some(is_new))
}

/// Every value that a secret has had, the newest first; never the values themselves.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn versions(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    (name, target): (&str, Option<&str>),
) -> Result<Vec<sealed::Model>> {
    let place =
        variable::service::place(ctx, actor, project, target, Permission::ViewProject).await?;
    let row = store::find(ctx.db.reader(), place, name).await?;
    let id = row.ok_or(Error::NotFound("secret"))?.id;
    sealed::store::of_owner(ctx.db.reader(), sealed::SECRET, id.0).await
}

/// Which versions of secrets the runs of a deployment were given.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn used(ctx: &Ctx, actor: &Actor, id: DeploymentId) -> Result<Vec<usage::entity::Model>> {
    deployment::service::open(ctx, actor, id, Permission::ViewProject).await?;
    usage::store::of_deployment(ctx.db.reader(), id).await
}

/// Destroys a former value of a secret for ever. Deployments that used it still say so.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], a conflict for the newest version.
pub async fn destroy(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    (name, target, version): (&str, Option<&str>, i64),
) -> Result<()> {
    let place =
        variable::service::place(ctx, actor, project, target, Permission::ConfigureProject).await?;
    let now = crate::db::now();
    let tx = ctx.db.begin().await?;
    let row = store::find_locked(&tx, place, name).await?;
    let row = row.ok_or(Error::NotFound("secret"))?;
    if version == row.version {
        let text = "this is the newest version; write a new value first, or delete the secret";
        return Err(Error::conflict("secret_version_current", text));
    }
    let values = sealed::store::of_owner(&tx, sealed::SECRET, row.id.0).await?;
    let value = values.iter().find(|value| value.version == version);
    let value = value.ok_or(Error::NotFound("version of the secret"))?;
    if sealed::store::destroy(&tx, value.id, now).await? {
        let state = serde_json::json!({ "target_id": place.1, "version": version });
        let entry = Entry::by(actor, Action::SecretDestroy, now)
            .on(ObjectKind::Secret, row.id.0, name)
            .in_project(place.0)
            .after(&state);
        ctx.audit.record(&tx, &entry).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn sealed_at(place: (ProjectId, Option<TargetId>), id: SecretId, name: &str) -> Place<'_> {
    Place {
        purpose: sealed::SECRET,
        project: Some(place.0),
        scope: variable::store::scope(place.1),
        owner: id.0,
        name,
    }
}

/// Deletes a secret.
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
    let place =
        variable::service::place(ctx, actor, project, target, Permission::ConfigureProject).await?;
    let missing = || Error::NotFound("secret");
    let Ok(name) = name.parse::<VariableName>() else {
        return Err(missing());
    };
    let now = crate::db::now();
    let entry = Entry::by(actor, Action::SecretDelete, now).on_value(
        ObjectKind::Secret,
        place,
        name.as_str(),
    );
    let tx = ctx.db.begin().await?;
    let row = store::find_locked(&tx, place, name.as_str()).await?;
    let id = row.ok_or_else(missing)?.id;
    store::delete(&tx, id).await?;
    sealed::remove(&tx, sealed::SECRET, id.0).await?;
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// Decrypts what the steps of a pipeline name, for the worker that has claimed the run, and writes
/// down which versions it was given. A target's own value replaces its project's; system-only.
///
/// # Errors
/// The reason for which the deployment cannot run; the outer error when this process lacks a key that
/// another one has, which is nothing that the deployment can help.
pub(crate) async fn reveal_for_run(
    ctx: &Ctx,
    run: &Model,
    rows: &[Stored],
    pipeline: &Pipeline,
) -> Result<std::result::Result<BTreeMap<String, SecretValue>, Reason>> {
    let wanted = match named_by(pipeline, rows) {
        Ok(wanted) => wanted,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mut revealed, mut secrets) = (BTreeMap::new(), Vec::new());
    let at = crate::db::now();
    for (name, row) in wanted {
        let (version, scope) = (row.secret.version, row.secret.scope);
        match open_with_new_keys(ctx, row).await? {
            Ok(value) => {
                let name = name.to_owned();
                secrets.push(Used {
                    scope,
                    name: name.clone(),
                    version,
                });
                revealed.insert(name, value);
            }
            Err(error) => {
                let entry = usage::altered(run, name, version, at);
                ctx.audit.record(ctx.db.writer(), &entry).await?;
                let text = format!("The secret {name} could not be decrypted: {error}.");
                return Ok(Err(Reason::new(Code::SecretIntegrity, text)));
            }
        }
    }
    if !secrets.is_empty() {
        let run = run.clone();
        ctx.uses.ask(Use { run, secrets, at }).await?;
    }
    Ok(Ok(revealed))
}

/// The secrets that steps name, all of them when a step names none in particular.
fn named_by<'a>(
    pipeline: &Pipeline,
    rows: &'a [Stored],
) -> std::result::Result<BTreeMap<&'a str, &'a Stored>, Reason> {
    let named = pipeline.secret_names();
    let mut wanted = BTreeMap::new();
    for row in rows {
        let name = row.secret.name.as_str();
        let is_named = named.as_ref().is_none_or(|names| names.contains(name));
        if is_named {
            wanted.insert(name, row);
        }
    }
    let mut named_by_steps = pipeline
        .steps()
        .filter_map(|step| step.secrets.as_ref())
        .flatten();
    if let Some(name) = named_by_steps.find(|name| !wanted.contains_key(name.as_str())) {
        let text = format!("A step names the secret {name}, which the project does not have.");
        return Err(Reason::new(Code::SecretMissing, text));
    }
    Ok(wanted)
}

/// A key that this process does not have may have come a moment ago. If it has not, and there is such
/// a key, then not the value is wrong but this process.
async fn open_with_new_keys(
    ctx: &Ctx,
    row: &Stored,
) -> Result<std::result::Result<SecretValue, VaultError>> {
    let version = match open(ctx, row) {
        Err(VaultError::UnknownKeyVersion(version)) => version,
        opened => return Ok(opened),
    };
    rotation::watch::look_for_keys(ctx).await;
    if !ctx.keys.has(version)
        && let Some(key) = rotation::store::find(ctx.db.reader(), version).await?
        && key.state != KeyState::Retired
    {
        return Err(rotation::lacking(version));
    }
    Ok(open(ctx, row))
}

fn open(ctx: &Ctx, row: &Stored) -> std::result::Result<SecretValue, VaultError> {
    let Stored { secret, value } = row;
    let place = sealed_at(
        (secret.project_id, secret.target_id),
        secret.id,
        &secret.name,
    );
    let value = value.as_ref().ok_or(VaultError::Integrity)?;
    sealed::open(&ctx.keys, &place, secret.version, value)
}
