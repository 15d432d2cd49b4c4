//! What people do with secrets (write them, never read them), and how a run gets them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    cipher::{Binding, SECRET_PURPOSE, Sealed},
    entity::Model,
    ring::KeyRing,
    store,
    value::SecretValue,
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::{Db, broken, is_duplicate},
    deployment::reason::{Code, Reason},
    error::{Error, Result},
    field::VariableName,
    id::{ProjectId, TargetId},
    pipeline::Pipeline,
    variable,
};

/// Shorter values cannot be masked in a log without masking half of it.
pub const VALUE_BYTES_MIN: usize = slipway_redact::VALUE_MIN_BYTES;

/// Names and dates of a project's secrets; never their values.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Model>> {
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
    let entry = entry(actor, Action::SecretSet, place, name, now);
    loop {
        let written = crate::db::retried(|| write(ctx, place, (name, value), &entry, now)).await?;
        if let Some(is_new) = written {
            return Ok(is_new);
        }
    }
}

/// Nothing when another writer has just made the row: then there is a version to follow.
async fn write(
    ctx: &Ctx,
    place: (ProjectId, Option<TargetId>),
    (name, value): (&str, &[u8]),
    entry: &Entry,
    now: DateTime<Utc>,
) -> Result<Option<bool>> {
    let tx = ctx.db.begin().await?;
    let known = store::find_locked(&tx, place, name).await?;
    let is_new = known.is_none();
    let (id, version) = match known {
        Some(row) => (row.id, row.version),
        None => {
            let placeholder = seal(&ctx.keys, &binding(place, 0, name), b"reserved")?;
            match store::reserve(&tx, place, name, &placeholder, now).await {
                Err(error) if is_duplicate(&error) => return Ok(None),
                reserved => (reserved?, 0),
            }
        }
    };
    let sealed = seal(&ctx.keys, &binding(place, id.0, name), value)?;
    store::write(&tx, id, version + 1, &sealed, now).await?;
    let state = serde_json::json!({ "target_id": place.1, "version": version + 1 });
    let entry = entry
        .clone()
        .on(ObjectKind::Secret, id.0, name)
        .after(&state);
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(Some(is_new))
}

fn entry(
    actor: &Actor,
    action: Action,
    place: (ProjectId, Option<TargetId>),
    name: &str,
    now: DateTime<Utc>,
) -> Entry {
    Entry::by(actor, action, now)
        .on(ObjectKind::Secret, None, name)
        .in_project(place.0)
        .after(&serde_json::json!({ "target_id": place.1 }))
}

fn binding(place: (ProjectId, Option<TargetId>), row: i64, name: &str) -> Binding<'_> {
    Binding {
        purpose: SECRET_PURPOSE,
        project: place.0,
        scope: variable::store::scope(place.1),
        row,
        name,
    }
}

fn seal(keys: &KeyRing, binding: &Binding<'_>, value: &[u8]) -> Result<Sealed> {
    keys.seal(binding, value)
        .map_err(|error| Error::Internal(error.into()))
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
    let entry = entry(
        actor,
        Action::SecretDelete,
        place,
        name.as_str(),
        crate::db::now(),
    );
    let tx = ctx.db.begin().await?;
    if !store::delete(&tx, place, &name).await? {
        return Err(missing());
    }
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// Decrypts what the steps of a pipeline name, for the worker that has claimed the run. A target's
/// own value replaces its project's; system-only.
///
/// # Errors
/// The reason for which the deployment cannot run; the outer error when the database fails.
pub(crate) fn reveal_for_run(
    ctx: &Ctx,
    rows: &[Model],
    pipeline: &Pipeline,
) -> std::result::Result<BTreeMap<String, SecretValue>, Reason> {
    let named = pipeline.secret_names();
    let mut wanted: BTreeMap<&str, &Model> = BTreeMap::new();
    for row in rows {
        let is_named = named
            .as_ref()
            .is_none_or(|names| names.contains(row.name.as_str()));
        if is_named {
            wanted.insert(&row.name, row);
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
    let mut revealed = BTreeMap::new();
    for (name, row) in wanted {
        revealed.insert(name.to_owned(), open(&ctx.keys, row)?);
    }
    Ok(revealed)
}

fn open(keys: &KeyRing, row: &Model) -> std::result::Result<SecretValue, Reason> {
    let altered = |what: &str| {
        let text = format!("The secret {} could not be decrypted: {what}.", row.name);
        Reason::new(Code::SecretIntegrity, text)
    };
    let sealed = sealed(&row.algorithm, row.key_version, &row.nonce, &row.ciphertext)
        .ok_or_else(|| altered("its row is damaged"))?;
    let place = (row.project_id, row.target_id);
    keys.open(&binding(place, row.id.0, &row.name), &sealed)
        .map_err(|error| altered(&error.to_string()))
}

fn sealed(algorithm: &str, key_version: i64, nonce: &[u8], ciphertext: &[u8]) -> Option<Sealed> {
    Some(Sealed {
        alg: algorithm.parse().ok()?,
        key_version: i32::try_from(key_version).ok()?,
        nonce: nonce.try_into().ok()?,
        ciphertext: ciphertext.to_vec(),
    })
}

/// Compares each master key with the check value that its version left in the database, and leaves
/// one for a new version. A wrong key stops the process here, not at the first deployment;
/// system-only.
///
/// # Errors
/// When a key is not the one that its version had, or the database fails.
pub async fn check_keys(db: &Db, keys: &KeyRing, now: DateTime<Utc>) -> Result<()> {
    for version in keys.versions() {
        if let Some(row) = store::key_check(db.reader(), version).await? {
            let check = sealed(&row.algorithm, row.key_version, &row.nonce, &row.ciphertext);
            if check.is_none_or(|check| keys.verify_check(version, &check).is_err()) {
                return Err(broken(format!(
                    "the master key of version {version} is not the one that this database was \
                     encrypted with; give back the old key as security.encryption_key, or add the \
                     new one under another version"
                )));
            }
            continue;
        }
        let check = keys
            .check_value(version)
            .map_err(|error| Error::Internal(error.into()))?;
        match store::insert_key_check(db.writer(), version, &check, now).await {
            Err(error) if is_duplicate(&error) => {
                // Another process was first: compare with what it left.
                return Box::pin(check_keys(db, keys, now)).await;
            }
            outcome => outcome?,
        }
    }
    Ok(())
}
