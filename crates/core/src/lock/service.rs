//! What people do with locks.

use chrono::{DateTime, Utc};

use super::{
    covering::{Lock, Locks, Scope},
    store::{self, NewLock},
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    deployment::{self, store::revision},
    error::{Error, Result},
    field::Remark,
    notify::{
        event::Event,
        outbox::{self, lock::Told},
    },
    ports::{self, Authority, Place},
    project, target,
};

/// What a lock is about, as a person addresses it: by slug or id.
#[derive(Clone, Copy, Debug)]
pub enum Address<'a> {
    /// Everything.
    Everything,
    /// A project.
    Project(&'a str),
    /// A target of a project.
    Target(&'a str, &'a str),
}

/// A lock as a person asks for it.
#[derive(Clone, Debug)]
pub struct LockInput {
    /// Why.
    pub reason: Remark,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Locks something, in the place of an earlier lock of the same. What starts once this has answered
/// is not under it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`] when it would be over already.
pub async fn put(
    ctx: &Ctx,
    actor: &Actor,
    address: Address<'_>,
    input: LockInput,
    now: DateTime<Utc>,
) -> Result<Lock> {
    let scope = open(ctx, actor, address, false).await?;
    if input.expires_at.is_some_and(|moment| moment <= now) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    let lock = NewLock {
        scope,
        reason: input.reason.into_string(),
        by: actor.user,
        expires_at: input.expires_at,
    };
    let locks = crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let counted = revision::count(&tx).await?;
        store::put(&tx, &counted, &lock, now).await?;
        let state = serde_json::json!({ "reason": lock.reason, "expires_at": lock.expires_at });
        let entry = entry(actor, Action::LockSet, scope, now).after(&state);
        ctx.audit.record(&tx, &entry).await?;
        // Read here: somebody else may lift it at once.
        let locks = store::active(&tx).await?;
        let by = Some(actor.name.as_str());
        let told = Told {
            scope,
            reason: &lock.reason,
            by,
            at: now,
        };
        outbox::lock::tell(&tx, Event::Locked, told).await?;
        tx.commit().await?;
        Ok(locks)
    })
    .await?;
    tracing::info!(
        lock.scope = %scope,
        user.id = actor.user.0,
        "something was locked"
    );
    // It may end sooner than the one before it.
    look_again(ctx, scope).await;
    let placed = locks.of(scope).cloned();
    placed.ok_or_else(|| Error::invalid("expires_at", "must be in the future"))
}

/// Lifts a lock. Repeating it has no further effect.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn lift(ctx: &Ctx, actor: &Actor, address: Address<'_>) -> Result<()> {
    let scope = open(ctx, actor, address, false).await?;
    let now = crate::db::now();
    let tx = ctx.db.begin().await?;
    let row = store::find(&tx, scope).await?;
    if store::remove(&tx, scope).await? {
        let entry = entry(actor, Action::LockLift, scope, now);
        ctx.audit.record(&tx, &entry).await?;
        let told = Told {
            scope,
            reason: row.as_ref().map_or("", |row| &row.reason),
            by: Some(&actor.name),
            at: now,
        };
        outbox::lock::tell(&tx, Event::Unlocked, told).await?;
    }
    tx.commit().await?;
    tracing::info!(
        lock.scope = %scope,
        user.id = actor.user.0,
        "a lock was lifted"
    );
    look_again(ctx, scope).await;
    Ok(())
}

fn entry(actor: &Actor, action: Action, scope: Scope, now: DateTime<Utc>) -> Entry {
    let entry = Entry::by(actor, action, now);
    match scope {
        Scope::Everything => entry.on(ObjectKind::Lock, None, &scope.to_string()),
        Scope::Project(project) => entry
            .on(ObjectKind::Lock, project.0, &scope.to_string())
            .in_project(project),
        Scope::Target(project, target) => entry
            .on(ObjectKind::Lock, target.0, &scope.to_string())
            .in_project(project),
    }
}

/// The lock of exactly this.
///
/// # Errors
/// [`Error::NotFound`], also when it is not locked.
pub async fn get(ctx: &Ctx, actor: &Actor, address: Address<'_>) -> Result<Lock> {
    let scope = open(ctx, actor, address, true).await?;
    let locks = store::active(ctx.db.reader()).await?;
    locks.of(scope).cloned().ok_or(Error::NotFound("lock"))
}

/// Every lock that holds now, for views of what the actor has opened; system-only.
///
/// # Errors
/// When the database fails.
pub async fn active(ctx: &Ctx) -> Result<Locks> {
    store::active(ctx.db.reader()).await
}

async fn open(ctx: &Ctx, actor: &Actor, address: Address<'_>, to_read: bool) -> Result<Scope> {
    let permission = if to_read {
        Permission::ViewProject
    } else {
        Permission::GovernProject
    };
    match address {
        Address::Everything => {
            // Whoever waits may know why.
            if !to_read {
                actor.require(Permission::Administer, None)?;
            }
            Ok(Scope::Everything)
        }
        Address::Project(project) => {
            let seen = project::service::open(ctx, actor, project, permission).await?;
            Ok(Scope::Project(seen.row.id))
        }
        Address::Target(project, target) => {
            let seen = project::service::open(ctx, actor, project, permission).await?;
            let target = target::service::find(ctx, seen.row.id, target).await?;
            Ok(Scope::Target(seen.row.id, target.id))
        }
    }
}

/// Has everything that the index holds back below this scope tried again at once: a claim finds out
/// whether it still has to wait. If that fails the reconciler does it.
async fn look_again(ctx: &Ctx, scope: Scope) {
    if let Err(error) = release(ctx, scope).await {
        tracing::warn!(lock.scope = %scope, error = ?error, "the queue was not told of a lock");
    }
}

async fn release(ctx: &Ctx, scope: Scope) -> Result<()> {
    let first = deployment::store::open::first_in_line(ctx.db.writer(), scope).await?;
    let ids: Vec<_> = first.iter().map(|row| row.id).collect();
    let places = ctx.queue.places(&ids).await?;
    for row in &first {
        if places.get(&row.id) == Some(&Place::Delayed) && row.delay_left().is_none() {
            let entry = row.entry();
            ctx.queue.requeue(entry, &Authority::Database).await?;
        }
        ctx.bus.publish(ports::Event::Changed(row.id)).await;
    }
    Ok(())
}
