//! What people see of deliveries, and how they have one sent once more.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::{
    entity::{Model, notice},
    state::State,
    store::{self, Filter},
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    error::{Error, Result},
    id::{ChannelId, DeliveryId, DeploymentId, ProjectId},
    notify::{
        channel::{self, service::Choice},
        notice::Notice,
        outbox::compose::random_key,
    },
    project,
};

/// A delivery as people see it.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Its row.
    pub row: Model,
    /// What is told.
    pub notice: Notice,
    /// The project, unless it concerns everything.
    pub project: Option<ProjectId>,
    /// Where.
    pub channel: Choice,
}

impl Detail {
    /// When it was written.
    #[must_use]
    pub fn created_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.row.created_us).unwrap_or_default()
    }

    /// When it is tried next, while it waits.
    #[must_use]
    pub fn next_at(&self) -> Option<DateTime<Utc>> {
        let waits = self.row.state == State::Pending;
        waits.then(|| DateTime::from_timestamp_micros(self.row.next_us))?
    }

    /// When it came to its state, if that is final.
    #[must_use]
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.row.ended_us?)
    }
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct ListInput {
    /// Only of this project, by slug or id; without it everything, for those who operate Slipway.
    pub project: Option<String>,
    /// Only of this deployment.
    pub deployment: Option<DeploymentId>,
    /// Only of this channel.
    pub channel: Option<ChannelId>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only older than this one.
    pub before: Option<DeliveryId>,
    /// How many.
    pub limit: u64,
}

/// Deliveries, newest first: those of a project for those who see it, all of them for those who
/// operate Slipway.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn list(ctx: &Ctx, actor: &Actor, input: &ListInput) -> Result<Vec<Detail>> {
    let mut filter = Filter {
        deployment: input.deployment,
        channel: input.channel,
        state: input.state,
        before: input.before,
        ..Filter::default()
    };
    if let Some(project) = &input.project {
        let permission = Permission::ViewProject;
        let seen = project::service::open(ctx, actor, project, permission).await?;
        filter.projects = Some(vec![seen.row.id]);
    } else {
        actor.require(Permission::Operate, None)?;
    }
    let conn = ctx.db.reader();
    let rows = store::list(conn, &filter, input.limit).await?;
    details(conn, rows).await
}

async fn details(conn: &impl ConnectionTrait, rows: Vec<Model>) -> Result<Vec<Detail>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let notices = store::notices(conn, rows.iter().map(|row| row.notice_id)).await?;
    let channels = channel::service::named(conn).await?;
    let details = rows.into_iter().filter_map(|row| {
        let told = notices.iter().find(|it| it.id == row.notice_id)?;
        let channel = channels.iter().find(|it| it.id == row.channel_id)?;
        Some((row, told, channel.clone()))
    });
    details
        .map(|(row, told, channel)| {
            Ok(Detail {
                notice: told_with(told, row.folded)?,
                project: told.project_id,
                channel,
                row,
            })
        })
        .collect()
}

/// A notice as it is told with so many others.
pub(crate) fn told_with(row: &notice::Model, folded: i64) -> Result<Notice> {
    let mut notice: Notice = serde_json::from_str(&row.body)?;
    notice.folded = u32::try_from(folded).unwrap_or(u32::MAX);
    Ok(notice)
}

/// One delivery.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn get(ctx: &Ctx, actor: &Actor, id: DeliveryId) -> Result<Detail> {
    let conn = ctx.db.reader();
    let row = store::find(conn, id).await?;
    let details = details(conn, row.into_iter().collect()).await?;
    let detail = details.into_iter().next();
    let Some(detail) = detail else {
        // Whoever may not see all of them does not learn which numbers there are.
        return Err(Error::NotFound("delivery"));
    };
    allow(ctx, actor, &detail, Permission::ViewProject).await?;
    Ok(detail)
}

async fn allow(ctx: &Ctx, actor: &Actor, detail: &Detail, permission: Permission) -> Result<()> {
    if actor.may(Permission::Operate, None) {
        return Ok(());
    }
    let Some(project) = detail.project else {
        return Err(Error::NotFound("delivery"));
    };
    match project::service::open_by_id(ctx, actor, project, permission).await {
        Err(Error::NotFound(_)) => Err(Error::NotFound("delivery")),
        opened => opened.map(|_| ()),
    }
}

/// Has a delivery that has ended sent once more. Its key is another one then: somebody asks for it on
/// purpose, and a receiver that has had it must not drop it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or a conflict while it is still being delivered or its
/// channel is switched off.
pub async fn resend(
    ctx: &Ctx,
    actor: &Actor,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<Detail> {
    let known = get(ctx, actor, id).await?;
    allow(ctx, actor, &known, Permission::GovernProject).await?;
    if known.channel.disabled {
        let message = "the channel or its provider is switched off";
        return Err(Error::conflict("channel_disabled", message));
    }
    let key = random_key()?;
    let tx = ctx.db.begin().await?;
    if !store::again(&tx, id, &key).await? {
        let message = "it is still being delivered";
        return Err(Error::conflict("still_open", message));
    }
    let mut entry = Entry::by(actor, Action::DeliveryResend, now)
        .on(ObjectKind::Delivery, id.0, &id.to_string())
        .after(&serde_json::json!({
            "channel": known.channel.name,
            "event": known.notice.event,
        }));
    if let Some(project) = known.project {
        entry = entry.in_project(project);
    }
    ctx.audit.record(&tx, &entry).await?;
    tx.commit().await?;
    ctx.outbox.notify_one();
    get(ctx, actor, id).await
}
