//! Locks, as events that are told.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::{
    audience,
    compose::{Item, random_key},
    facts, write,
};
use crate::{
    ctx::Ctx,
    error::Result,
    id::{ProjectId, TargetId},
    lock::{
        covering::{Lock, Scope},
        store,
    },
    notify::{event::Event, notice::Notice, subscription::filter::Occasion},
    target,
};

/// A lock that was set or has ended.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What it covers.
    pub scope: Scope,
    /// Why it was set.
    pub reason: &'a str,
    /// Who did it; nobody when it ran out.
    pub by: Option<&'a str>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Writes who is told of a lock, in the transaction that sets or removes it. What covers everything is
/// told once in each channel of any project.
///
/// # Errors
/// When the database fails.
pub async fn tell(tx: &impl ConnectionTrait, event: Event, told: Told<'_>) -> Result<()> {
    let (project, target) = match told.scope {
        Scope::Everything => (None, None),
        Scope::Project(project) => (Some(project), None),
        Scope::Target(project, target) => (Some(project), Some(target)),
    };
    let only = project.map(|project| [project]);
    let audience = audience::of(tx, only.as_ref().map(<[ProjectId; 1]>::as_slice)).await?;
    let occasion = Occasion {
        event,
        target,
        branch: None,
        is_deployment: false,
        at: told.at,
    };
    let Some((_, channels)) = audience.told(project, &[event], &occasion).pop() else {
        return Ok(());
    };
    let names = facts::of_projects(tx, project.into_iter()).await?;
    let slug = match target {
        Some(id) => slug(tx, id).await?,
        None => None,
    };
    let notice = Notice {
        event,
        at: told.at,
        project: names.into_iter().next().map(|(_, name)| name),
        target: slug,
        actor: told.by.map(ToOwned::to_owned),
        text: Some(told.reason.to_owned()).filter(|text| !text.is_empty()),
        deployment: None,
        failure: None,
        url: None,
        folded: 0,
    };
    let item = Item {
        uid: random_key()?,
        project,
        target,
        deployment: None,
        notice,
        channels,
        fold: None,
    };
    write(tx, &[item]).await
}

async fn slug(tx: &impl ConnectionTrait, id: TargetId) -> Result<Option<String>> {
    let row = target::store::by_id(tx, id).await?;
    Ok(row.map(|row| row.slug))
}

/// Removes locks that have run out and says so. Each is told once, whichever process removes it.
///
/// # Errors
/// When the database fails; what was removed stays removed.
pub async fn expire(ctx: &Ctx, now: DateTime<Utc>) -> Result<u64> {
    let mut removed = 0;
    for row in store::expired(ctx.db.reader()).await? {
        let tx = ctx.db.begin().await?;
        if store::remove_one(&tx, row.id).await? {
            let lock = Lock::new(row, None);
            let told = Told {
                scope: lock.scope,
                reason: &lock.row.reason,
                by: None,
                at: now,
            };
            tell(&tx, Event::Unlocked, told).await?;
            removed += 1;
        }
        tx.commit().await?;
    }
    Ok(removed)
}
