//! What people do with SSH keys and host keys, and how a run gets them.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use serde_json::json;

use super::{
    entity::{ActiveModel, Model, host_key},
    host::{self, HostKey},
    key::{PrivateKey, fingerprint},
    store,
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    deployment::{
        entity::deployment,
        reason::{Code, Reason},
    },
    error::{Error, Result},
    id::{HostKeyId, ProjectId, TargetId},
    variable,
    vault::{
        cipher::VaultError,
        sealed::{self, Place},
        usage::{self, Use, Used},
    },
};

/// The name of the private half among sealed values and uses. No secret can have it.
const NAME: &str = "ssh-key";

/// The public halves of a project's keys.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Model>> {
    let (project, _) =
        variable::service::place(ctx, actor, project, None, Permission::ViewProject).await?;
    store::list(ctx.db.reader(), project).await
}

/// Makes a key pair for a project or one of its targets; one that was there is gone then.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`].
pub async fn generate(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    target: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Model> {
    let permission = Permission::ConfigureProject;
    let place = variable::service::place(ctx, actor, project, target, permission).await?;
    loop {
        let made = crate::db::retried(|| replace(ctx, actor, place, now)).await?;
        if let Some(row) = made {
            return Ok(row);
        }
    }
}

/// Nothing when somebody else has just made the first one: then there is one to replace.
async fn replace(
    ctx: &Ctx,
    actor: &Actor,
    (project, target): (ProjectId, Option<TargetId>),
    now: DateTime<Utc>,
) -> Result<Option<Model>> {
    let key = PrivateKey::generate()?;
    let scope = variable::store::scope(target);
    let tx = ctx.db.begin().await?;
    let known = store::find_locked(&tx, project, scope).await?;
    let version = known.as_ref().map_or(1, |row| row.version + 1);
    let mut values = ActiveModel {
        version: Set(version),
        public_key: Set(key.authorized(&format!("slipway-{project}-{scope}"))),
        fingerprint: Set(fingerprint(&key.public())),
        created_by: Set(Some(actor.user)),
        created_at: Set(now),
        ..ActiveModel::default()
    };
    let id = if let Some(row) = &known {
        store::update(&tx, row.id, values).await?;
        row.id
    } else {
        values.project_id = Set(project);
        values.target_id = Set(target);
        values.scope = Set(scope);
        match store::insert(&tx, values).await {
            Err(error) if is_duplicate(&error) => return Ok(None),
            inserted => inserted?,
        }
    };
    let input = sealed::Input {
        place: place(project, scope, id.0),
        version,
        plain: key.seed(),
        by: Some(actor.user),
    };
    sealed::put(&tx, &ctx.keys, input, now).await?;
    sealed::store::remove_before(&tx, &input.place, version).await?;
    let row = store::find_locked(&tx, project, scope).await?;
    let row = row.ok_or(Error::NotFound("SSH key"))?;
    let mut entry = Entry::by(actor, Action::SshKeyCreate, now)
        .on(ObjectKind::SshKey, id.0, &row.fingerprint)
        .in_project(project)
        .after(&json!({ "target_id": target, "fingerprint": row.fingerprint }));
    if let Some(known) = known {
        entry = entry.before(&json!({ "target_id": target, "fingerprint": known.fingerprint }));
    }
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(Some(row))
}

fn place(project: ProjectId, scope: i64, owner: i64) -> Place<'static> {
    Place {
        purpose: sealed::SSH_KEY,
        project: Some(project),
        scope,
        owner,
        name: NAME,
    }
}

/// Deletes a key pair.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn delete(ctx: &Ctx, actor: &Actor, project: &str, target: Option<&str>) -> Result<()> {
    let permission = Permission::ConfigureProject;
    let (project, target) =
        variable::service::place(ctx, actor, project, target, permission).await?;
    let tx = ctx.db.begin().await?;
    let row = store::find_locked(&tx, project, variable::store::scope(target)).await?;
    let row = row.ok_or(Error::NotFound("SSH key"))?;
    store::delete(&tx, row.id).await?;
    sealed::remove(&tx, sealed::SSH_KEY, row.id.0).await?;
    let entry = Entry::by(actor, Action::SshKeyDelete, crate::db::now())
        .on(ObjectKind::SshKey, row.id.0, &row.fingerprint)
        .in_project(project)
        .before(&json!({ "target_id": target, "fingerprint": row.fingerprint }));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// The host keys that a project trusts.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn host_keys(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<host_key::Model>> {
    let (project, _) =
        variable::service::place(ctx, actor, project, None, Permission::ViewProject).await?;
    store::host_keys(ctx.db.reader(), project).await
}

/// Lets a project trust the servers of these `known_hosts` lines. Those that it trusts already stay.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`].
pub async fn trust(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    lines: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let permission = Permission::ConfigureProject;
    let (project, _) = variable::service::place(ctx, actor, project, None, permission).await?;
    let keys = host::parse(lines).map_err(|message| Error::invalid("lines", message))?;
    for key in keys {
        crate::db::retried(|| trust_one(ctx, actor, project, &key, now)).await?;
    }
    Ok(())
}

async fn trust_one(
    ctx: &Ctx,
    actor: &Actor,
    project: ProjectId,
    key: &HostKey,
    now: DateTime<Utc>,
) -> Result<()> {
    let tx = ctx.db.begin().await?;
    let row = host_key::ActiveModel {
        project_id: Set(project),
        host: Set(key.host.clone()),
        algorithm: Set(key.algorithm.clone()),
        public_key: Set(key.public_key.clone()),
        fingerprint: Set(key.fingerprint.clone()),
        created_by: Set(Some(actor.user)),
        created_at: Set(now),
        ..host_key::ActiveModel::default()
    };
    let id = match store::insert_host_key(&tx, row).await {
        Err(error) if is_duplicate(&error) => return Ok(()),
        inserted => inserted?,
    };
    let entry = Entry::by(actor, Action::HostKeyAdd, now)
        .on(ObjectKind::HostKey, id.0, &key.host)
        .in_project(project)
        .after(&json!({ "algorithm": key.algorithm, "fingerprint": key.fingerprint }));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets a project trust a host key no more.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn distrust(ctx: &Ctx, actor: &Actor, project: &str, id: HostKeyId) -> Result<()> {
    let permission = Permission::ConfigureProject;
    let (project, _) = variable::service::place(ctx, actor, project, None, permission).await?;
    let known = store::host_keys(ctx.db.reader(), project).await?;
    let row = known.into_iter().find(|row| row.id == id);
    let row = row.ok_or(Error::NotFound("host key"))?;
    let tx = ctx.db.begin().await?;
    store::delete_host_key(&tx, row.id).await?;
    let entry = Entry::by(actor, Action::HostKeyRemove, crate::db::now())
        .on(ObjectKind::HostKey, row.id.0, &row.host)
        .in_project(project)
        .before(&json!({ "algorithm": row.algorithm, "fingerprint": row.fingerprint }));
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// What a run needs to reach a repository over SSH.
#[derive(Debug, Default)]
pub struct Access {
    /// The key that it signs with, if the project or the target has one.
    pub key: Option<PrivateKey>,
    /// What ssh may take for the repository's server, if the project says so: `known_hosts` lines.
    pub known_hosts: Option<String>,
}

/// Decrypts what a run needs to reach its repository, and writes down that it was given; system-only.
///
/// # Errors
/// The reason for which the deployment cannot run; the outer error when the database fails.
pub async fn for_run(
    ctx: &Ctx,
    run: &deployment::Model,
) -> Result<std::result::Result<Access, Reason>> {
    let conn = ctx.db.reader();
    let hosts = store::host_keys(conn, run.project_id).await?;
    let lines =
        |row: &host_key::Model| format!("{} {} {}\n", row.host, row.algorithm, row.public_key);
    let known_hosts: String = hosts.iter().map(lines).collect();
    let mut access = Access::default();
    let row = store::for_target(conn, run.project_id, run.target_id.0).await?;
    // A key goes to no server but those that the project names.
    access.known_hosts = (row.is_some() || !hosts.is_empty()).then_some(known_hosts);
    let Some(row) = row else {
        return Ok(Ok(access));
    };
    let place = place(row.project_id, row.scope, row.id.0);
    let value = sealed::store::newest(conn, &place).await?;
    let at = crate::db::now();
    let opened = value
        .ok_or(VaultError::Integrity)
        .and_then(|value| sealed::open(&ctx.keys, &place, row.version, &value));
    match opened {
        Ok(seed) => access.key = Some(PrivateKey::from_seed(seed.expose())?),
        Err(error) => {
            let entry = usage::altered(run, NAME, row.version, at);
            ctx.audit.record(ctx.db.writer(), &entry).await?;
            let text = format!("The SSH key of the project could not be decrypted: {error}.");
            return Ok(Err(Reason::new(Code::SecretIntegrity, text)));
        }
    }
    let secrets = vec![Used {
        scope: row.scope,
        name: NAME.to_owned(),
        version: row.version,
    }];
    let run = run.clone();
    ctx.uses.ask(Use { run, secrets, at }).await?;
    Ok(Ok(access))
}
