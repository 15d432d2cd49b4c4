//! What nobody does and people should be told of all the same: deployments that are stuck, locks that
//! have run out, a master key that is old. Every process looks; each thing is told once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, JoinType,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, Query},
};

use super::{
    super::{
        deployment::{Happening, items},
        lock::expire,
    },
    audience,
    compose::Item,
    write,
};
use crate::{
    ctx::Ctx,
    db::{is_duplicate, now_us},
    deployment::{
        entity::deployment::{Column, Entity, Model},
        status::Status,
    },
    error::Result,
    id::DeploymentId,
    lock,
    notify::{
        delivery::entity::notice as told, event::Event, notice::Notice,
        subscription::filter::Occasion,
    },
    project::entity as project,
    vault::rotation::{
        self,
        entity::{KeyState, Model as KeyVersion},
    },
};

/// How often the duty looks.
pub const INTERVAL: Duration = Duration::from_secs(15);
/// Deployments that are looked at together, and after how many that are told of a look ends.
const AT_ONCE: u64 = 100;

/// Looks once.
///
/// # Errors
/// When the database fails.
pub async fn run_once(ctx: &Ctx, now: DateTime<Utc>) -> Result<()> {
    expire(ctx, now).await?;
    stuck(ctx, now).await?;
    old_key(ctx, now).await
}

/// Tells of deployments that have waited for long, other than for a lock or their next attempt.
///
/// # Errors
/// When the database fails.
pub async fn stuck(ctx: &Ctx, now: DateTime<Utc>) -> Result<u64> {
    let seconds = ctx.settings.notifications.stuck_after_seconds;
    if seconds == 0 {
        return Ok(0);
    }
    let waits = chrono::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let mut count = 0;
    let mut after = DeploymentId(0);
    // Those that wait for a lock are met in each look, and must not hide the others behind them.
    loop {
        let rows = waiting(ctx.db.reader(), now - waits, after).await?;
        let Some(last) = rows.last() else {
            return Ok(count);
        };
        after = last.id;
        let locks = lock::store::active(ctx.db.reader()).await?;
        for row in rows {
            if locks.over(row.project_id, row.target_id).is_some() {
                continue;
            }
            count += u64::from(tell_stuck(ctx, row, now).await?);
        }
        if count >= AT_ONCE {
            return Ok(count);
        }
    }
}

async fn waiting(
    conn: &impl ConnectionTrait,
    since: DateTime<Utc>,
    after: DeploymentId,
) -> Result<Vec<Model>> {
    let backend = conn.get_database_backend();
    let known = Query::select()
        .column((told::Entity, told::Column::Id))
        .from(told::Entity)
        .and_where(
            Expr::col((told::Entity, told::Column::DeploymentId)).equals((Entity, Column::Id)),
        )
        .and_where(told::Column::Event.eq(Event::Stuck.as_str()))
        .to_owned();
    let of_project = Entity::belongs_to(project::Entity)
        .from(Column::ProjectId)
        .to(project::Column::Id)
        .into();
    let wanted = Expr::col((project::Entity, project::Column::Told)).bit_and(Event::Stuck.bit());
    Ok(Entity::find()
        .join(JoinType::InnerJoin, of_project)
        .filter(Column::Status.eq(Status::Queued))
        .filter(Column::CreatedAt.lt(since))
        .filter(Column::Id.gt(after))
        .filter(Expr::col(Column::NotBefore).lte(now_us(backend)))
        .filter(wanted.ne(0_i64))
        .filter(Expr::exists(known).not())
        .order_by_asc(Column::Id)
        .limit(AT_ONCE)
        .all(conn)
        .await?)
}

async fn tell_stuck(ctx: &Ctx, row: Model, now: DateTime<Utc>) -> Result<bool> {
    let waited = (now - row.created_at).num_minutes();
    let uid = format!("stuck:{}", row.id);
    let fold = format!("stuck:{}", row.target_id);
    let happening = Happening {
        row,
        events: vec![Event::Stuck],
        reason: None,
        by: None,
        at: now,
    };
    let tx = ctx.db.begin().await?;
    let mut items = items(&tx, &[happening]).await?;
    for item in &mut items {
        uid.clone_into(&mut item.uid);
        item.fold = Some(fold.clone());
        item.notice.text = Some(format!("It has waited for {waited} minutes."));
    }
    if items.is_empty() {
        return Ok(false);
    }
    match write(&tx, &items).await {
        // Another process was first.
        Err(error) if error.database().is_some_and(is_duplicate) => return Ok(false),
        written => written?,
    }
    tx.commit().await?;
    Ok(true)
}

/// Tells that the active master key is old, once for each version and month.
///
/// # Errors
/// When the database fails.
pub async fn old_key(ctx: &Ctx, now: DateTime<Utc>) -> Result<()> {
    let days = i64::from(ctx.settings.notifications.key_rotation_due_days);
    let keys = rotation::store::list(ctx.db.reader()).await?;
    let Some(key) = keys.into_iter().find(|key| key.state == KeyState::Active) else {
        return Ok(());
    };
    let age = (now - key.activated_at.unwrap_or(key.created_at)).num_days();
    if days == 0 || age < days {
        return Ok(());
    }
    let uid = format!("key:{}:{}", key.key_version, now.format("%Y-%m"));
    let known = told::Entity::find()
        .filter(told::Column::Uid.eq(&uid))
        .one(ctx.db.reader())
        .await?;
    if known.is_some() {
        return Ok(());
    }
    let tx = ctx.db.begin().await?;
    let Some(item) = due(&tx, (&key, age), uid, now).await? else {
        return Ok(());
    };
    match write(&tx, &[item]).await {
        // Another process was first.
        Err(error) if error.database().is_some_and(is_duplicate) => return Ok(()),
        written => written?,
    }
    tx.commit().await?;
    Ok(())
}

async fn due(
    tx: &impl ConnectionTrait,
    (key, age): (&KeyVersion, i64),
    uid: String,
    now: DateTime<Utc>,
) -> Result<Option<Item>> {
    let event = Event::KeyRotationDue;
    let occasion = Occasion {
        event,
        target: None,
        branch: None,
        is_deployment: false,
        at: now,
    };
    let audience = audience::of(tx, None).await?;
    let told = audience.told(None, &[event], &occasion).pop();
    Ok(told.map(|(_, channels)| Item {
        uid,
        project: None,
        target: None,
        deployment: None,
        notice: Notice {
            event,
            at: now,
            project: None,
            target: None,
            actor: None,
            text: Some(format!(
                "Version {} of the master key has encrypted secrets for {age} days.",
                key.key_version
            )),
            deployment: None,
            failure: None,
            url: None,
            folded: 0,
        },
        channels,
        fold: None,
    }))
}
