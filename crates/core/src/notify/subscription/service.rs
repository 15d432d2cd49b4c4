//! What people do with a project's subscriptions.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait};
use serde_json::json;

use super::{
    entity::{ActiveModel, Model},
    filter::{bits, check_branch, events},
    store,
};
use crate::{
    access::{Actor, Permission},
    account,
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    field::{Problems, Remark},
    id::{ChannelId, ProjectId, SubscriptionId, TargetId},
    notify::{
        channel::{self, service::Choice},
        event::Event,
    },
    project, target,
};

/// Most channels, targets or branches of one subscription.
const ENTRIES_MAX: usize = 50;
/// Most subscriptions of one project.
const SUBSCRIPTIONS_MAX: usize = 100;

/// A subscription as people see it.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Its row.
    pub row: Model,
    /// What is told.
    pub events: Vec<Event>,
    /// Where.
    pub channels: Vec<Choice>,
    /// The only targets that are told of, by slug, if not all are.
    pub targets: Vec<(TargetId, String)>,
    /// Whether it is restricted to targets; they may all have been deleted.
    pub only_targets: bool,
    /// The only branches that are told of, if not all are.
    pub branches: Vec<String>,
    /// Why and until when nothing is told.
    pub mute: Option<Muted>,
}

/// Why and until when nothing is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Muted {
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Who said so, if the account still exists.
    pub by: Option<String>,
}

/// A new subscription.
#[derive(Clone, Debug, Default)]
pub struct NewSubscription {
    /// Where it is told.
    pub channels: Vec<ChannelId>,
    /// What is told, by name.
    pub events: Vec<String>,
    /// The only targets, by slug or id; empty for all.
    pub targets: Vec<String>,
    /// The only branches, as globs; empty for all.
    pub branches: Vec<String>,
    /// Whether only failures are told, and what ends them.
    pub changes_only: bool,
}

/// Changes to a subscription; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionChange {
    /// Where it is told.
    pub channels: Option<Vec<ChannelId>>,
    /// What is told, by name.
    pub events: Option<Vec<String>>,
    /// The only targets, by slug or id; empty for all.
    pub targets: Option<Vec<String>>,
    /// The only branches, as globs; empty for all.
    pub branches: Option<Vec<String>>,
    /// Whether only failures are told, and what ends them.
    pub changes_only: Option<bool>,
    /// Until when nothing is told and why; the inner nothing ends it.
    pub mute: Option<Option<Mute>>,
}

/// A wish not to be told.
#[derive(Clone, Debug)]
pub struct Mute {
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: Remark,
}

/// A project's subscriptions, oldest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Detail>> {
    let project = open(ctx, actor, project, Permission::ViewProject).await?;
    let conn = ctx.db.reader();
    let rows = store::list(conn, project).await?;
    details(conn, project, rows).await
}

/// One subscription.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(ctx: &Ctx, actor: &Actor, project: &str, id: SubscriptionId) -> Result<Detail> {
    let project = open(ctx, actor, project, Permission::ViewProject).await?;
    read(ctx.db.reader(), project, id).await
}

async fn open(ctx: &Ctx, actor: &Actor, key: &str, needs: Permission) -> Result<ProjectId> {
    let seen = project::service::open(ctx, actor, key, needs).await?;
    Ok(seen.row.id)
}

async fn read(conn: &impl ConnectionTrait, at: ProjectId, id: SubscriptionId) -> Result<Detail> {
    let row = store::find(conn, at, id).await?;
    let details = details(conn, at, row.into_iter().collect()).await?;
    let only = details.into_iter().next();
    only.ok_or(Error::NotFound("subscription"))
}

async fn details(
    conn: &impl ConnectionTrait,
    project: ProjectId,
    rows: Vec<Model>,
) -> Result<Vec<Detail>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let pairs = store::channels(conn, rows.iter().map(|row| row.id)).await?;
    let channels = channel::service::named(conn).await?;
    let targets = target::store::list(conn, project).await?;
    let muters: Vec<_> = rows.iter().filter_map(|row| row.muted_by).collect();
    let people = account::store::find_users(conn, &muters).await?;
    let detail = |row: Model| -> Result<Detail> {
        let own = |choice: &&Choice| pairs.contains(&(row.id, choice.id));
        let only: Vec<TargetId> = serde_json::from_str(&row.targets)?;
        let named = targets.iter().filter(|target| only.contains(&target.id));
        let by = people.iter().find(|person| Some(person.id) == row.muted_by);
        let mute = row.muted_until.map(|until| Muted {
            until,
            reason: row.muted_reason.clone().unwrap_or_default(),
            by: by.map(|person| person.name.clone()),
        });
        Ok(Detail {
            events: events(row.events),
            channels: channels.iter().filter(own).cloned().collect(),
            targets: named.map(|it| (it.id, it.slug.clone())).collect(),
            only_targets: !only.is_empty(),
            branches: serde_json::from_str(&row.branches)?,
            mute,
            row,
        })
    };
    rows.into_iter().map(detail).collect()
}

/// What a subscription's columns are to hold; what is `None` stays.
#[derive(Default)]
struct Checked {
    channels: Option<Vec<ChannelId>>,
    values: ActiveModel,
}

/// Checks everything that somebody filled in, and tells all that is wrong with it.
async fn checked(
    tx: &impl ConnectionTrait,
    project: ProjectId,
    change: &SubscriptionChange,
) -> Result<Checked> {
    let mut problems = Problems::default();
    let mut checked = Checked::default();
    if let Some(ids) = &change.channels {
        let found = channel::store::find_many(tx, ids).await?;
        for (index, id) in ids.iter().enumerate() {
            if !found.iter().any(|row| row.id == *id) {
                problems.note(&format!("channels[{index}]"), "there is no such channel");
            }
        }
        let ids = crate::db::distinct(ids.iter().copied());
        count(&mut problems, "channels", (ids.len(), 1));
        checked.channels = Some(ids);
    }
    if let Some(names) = &change.events {
        let parsed = names.iter().enumerate().filter_map(|(index, name)| {
            let event = name.parse().and_then(subscribable);
            problems.take(&format!("events[{index}]"), event)
        });
        let bits = bits(parsed.collect::<Vec<Event>>());
        count(&mut problems, "events", (names.len(), 1));
        checked.values.events = Set(bits);
    }
    if let Some(keys) = &change.targets {
        let mut ids = Vec::new();
        count(&mut problems, "targets", (keys.len(), 0));
        for (index, key) in keys.iter().take(ENTRIES_MAX).enumerate() {
            match target::store::find(tx, project, key).await? {
                Some(target) => ids.push(target.id),
                None => problems.note(&format!("targets[{index}]"), "there is no such target"),
            }
        }
        checked.values.targets = Set(serde_json::to_string(&ids)?);
    }
    if let Some(globs) = &change.branches {
        count(&mut problems, "branches", (globs.len(), 0));
        for (index, glob) in globs.iter().enumerate() {
            problems.take(&format!("branches[{index}]"), check_branch(glob));
        }
        checked.values.branches = Set(serde_json::to_string(globs)?);
    }
    if let Some(changes_only) = change.changes_only {
        checked.values.changes_only = Set(changes_only);
    }
    problems.finish(Some(checked))
}

fn subscribable(event: Event) -> std::result::Result<Event, String> {
    if event == Event::Test {
        Err("is for trying a channel only".to_owned())
    } else {
        Ok(event)
    }
}

fn count(problems: &mut Problems, field: &str, (count, least): (usize, usize)) {
    if count < least {
        problems.note(field, "name at least one");
    } else if count > ENTRIES_MAX {
        problems.note(field, format!("must be at most {ENTRIES_MAX}"));
    }
}

/// Subscribes a project to some of its events.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`], or a conflict when there are as many
/// as may be.
pub async fn create(
    ctx: &Ctx,
    actor: &Actor,
    project: &str,
    input: NewSubscription,
    now: DateTime<Utc>,
) -> Result<Detail> {
    let project = open(ctx, actor, project, Permission::GovernProject).await?;
    let change = SubscriptionChange {
        channels: Some(input.channels),
        events: Some(input.events),
        targets: Some(input.targets),
        branches: Some(input.branches),
        changes_only: Some(input.changes_only),
        mute: None,
    };
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let counted = store::lock_project(&tx, project).await?;
        let Checked { channels, values } = checked(&tx, project, &change).await?;
        if store::list(&tx, project).await?.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("a project has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(Error::conflict("too_many_subscriptions", message));
        }
        let row = ActiveModel {
            project_id: Set(project),
            created_by: Set(Some(actor.user)),
            created_at: Set(now),
            updated_at: Set(now),
            ..values
        };
        let id = store::insert(&tx, row).await?;
        write_channels(&tx, id, channels.as_deref()).await?;
        store::note_told(&tx, &counted, project).await?;
        let made = read(&tx, project, id).await?;
        let entry = entry(actor, Action::SubscriptionCreate, &made, now).after(&audited(&made));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(made)
    })
    .await
}

/// A channel that is being deleted is held by its deletion, so one of the two comes first.
async fn write_channels(
    tx: &impl ConnectionTrait,
    id: SubscriptionId,
    channels: Option<&[ChannelId]>,
) -> Result<()> {
    let Some(channels) = channels else {
        return Ok(());
    };
    match store::set_channels(tx, id, channels).await {
        Err(error) if error.database().is_some_and(crate::db::is_orphan) => Err(Error::invalid(
            "channels",
            "a channel was deleted meanwhile",
        )),
        written => written,
    }
}

/// Changes a subscription, or mutes it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`].
pub async fn update(
    ctx: &Ctx,
    actor: &Actor,
    (project, id): (&str, SubscriptionId),
    change: SubscriptionChange,
    now: DateTime<Utc>,
) -> Result<Detail> {
    let project = open(ctx, actor, project, Permission::GovernProject).await?;
    if let Some(Some(mute)) = &change.mute
        && mute.until <= now
    {
        return Err(Error::invalid("mute.until", "must be in the future"));
    }
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let counted = store::lock_project(&tx, project).await?;
        let before = read(&tx, project, id).await?;
        let Checked {
            channels,
            mut values,
        } = checked(&tx, project, &change).await?;
        values.updated_at = Set(now);
        if let Some(mute) = &change.mute {
            let mute = mute.as_ref();
            values.muted_until = Set(mute.map(|mute| mute.until));
            values.muted_reason = Set(mute.map(|mute| mute.reason.to_string()));
            values.muted_by = Set(mute.map(|_| actor.user));
        }
        store::update(&tx, id, values).await?;
        write_channels(&tx, id, channels.as_deref()).await?;
        store::note_told(&tx, &counted, project).await?;
        let after = read(&tx, project, id).await?;
        let entry = entry(actor, Action::SubscriptionUpdate, &after, now);
        let entry = entry.changed(&audited(&before), &audited(&after));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(after)
    })
    .await
}

/// Deletes a subscription. What it has caused is still sent.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn delete(ctx: &Ctx, actor: &Actor, project: &str, id: SubscriptionId) -> Result<()> {
    let project = open(ctx, actor, project, Permission::GovernProject).await?;
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let counted = store::lock_project(&tx, project).await?;
        let known = read(&tx, project, id).await?;
        store::delete(&tx, id).await?;
        store::note_told(&tx, &counted, project).await?;
        let entry = entry(actor, Action::SubscriptionDelete, &known, crate::db::now());
        ctx.audit
            .record(&tx, &entry.before(&audited(&known)))
            .await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

fn entry(actor: &Actor, action: Action, detail: &Detail, now: DateTime<Utc>) -> Entry {
    let id = detail.row.id;
    Entry::by(actor, action, now)
        .on(ObjectKind::Subscription, id.0, &id.to_string())
        .in_project(detail.row.project_id)
}

/// A subscription as the audit trail tells of it.
fn audited(detail: &Detail) -> serde_json::Value {
    let channels = detail.channels.iter().map(|channel| &channel.name);
    let targets = detail.targets.iter().map(|(_, slug)| slug);
    json!({
        "channels": channels.collect::<Vec<_>>(),
        "events": detail.events,
        "targets": targets.collect::<Vec<_>>(),
        "branches": detail.branches,
        "changes_only": detail.row.changes_only,
        "muted_until": detail.row.muted_until,
        "muted_reason": detail.row.muted_reason,
    })
}
