//! What people do with channels.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr};
use serde_json::json;

pub use super::trial::{Trial, test};
use super::{
    entity::{ActiveModel, Model},
    store,
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::{is_duplicate, is_orphan},
    error::{Error, Result},
    field::DisplayName,
    id::{ChannelId, ProviderId},
    notify::{
        credentials::{self, Owner},
        form,
        provider::{
            self, Provider, Values,
            service::{in_settings, listed, of_kind},
        },
        subscription,
    },
    project,
    vault::sealed,
};

/// A channel as those see it who set it up.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Its row.
    pub row: Model,
    /// Its provider's name.
    pub provider: String,
    /// Which service.
    pub kind: String,
    /// What is not secret.
    pub settings: Values,
    /// The names of the secret values that it has.
    pub secrets: Vec<String>,
}

/// A channel as those see it who may subscribe to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its number.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// Its provider's name.
    pub provider: String,
    /// Which service.
    pub kind: String,
    /// Whether nothing is sent there, by itself or with its whole provider.
    pub disabled: bool,
}

/// A new channel.
#[derive(Debug)]
pub struct NewChannel {
    /// Which provider it belongs to.
    pub provider: ProviderId,
    /// Its name.
    pub name: DisplayName,
    /// What the service's fields hold.
    pub settings: Values,
}

/// Changes to a channel; what is `None` stays.
#[derive(Debug, Default)]
pub struct ChannelChange {
    /// Its name.
    pub name: Option<DisplayName>,
    /// Whether nothing is sent there.
    pub disabled: Option<bool>,
    /// Fields that are filled in anew; those that are not named stay, an empty text takes one away.
    pub settings: Option<Values>,
}

/// Every channel, by provider and name.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn list(ctx: &Ctx, actor: &Actor) -> Result<Vec<Detail>> {
    actor.require(Permission::Operate, None)?;
    let conn = ctx.db.reader();
    let rows = store::list(conn).await?;
    let providers = provider::store::list(conn).await?;
    let ids = rows.iter().map(|row| row.id.0);
    let secrets = sealed::store::names(conn, sealed::CHANNEL, ids).await?;
    let details = rows.into_iter().filter_map(|row| {
        let of = providers.iter().find(|it| it.id == row.provider_id)?;
        Some(detail(row, of, &secrets))
    });
    details.collect()
}

/// Every channel for those who see this project, by name: not what is in it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`].
pub async fn choices(ctx: &Ctx, actor: &Actor, project: &str) -> Result<Vec<Choice>> {
    project::service::open(ctx, actor, project, Permission::ViewProject).await?;
    named(ctx.db.reader()).await
}

/// Every channel by name; system-only.
pub(crate) async fn named(conn: &impl ConnectionTrait) -> Result<Vec<Choice>> {
    let providers = provider::store::list(conn).await?;
    let rows = store::list(conn).await?;
    let mut choices: Vec<Choice> = rows
        .into_iter()
        .filter_map(|row| {
            let of = providers.iter().find(|it| it.id == row.provider_id)?;
            Some(Choice {
                id: row.id,
                name: row.name,
                provider: of.name.clone(),
                kind: of.kind.clone(),
                disabled: row.disabled || of.disabled,
            })
        })
        .collect();
    choices.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(choices)
}

/// One channel.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn get(ctx: &Ctx, actor: &Actor, id: ChannelId) -> Result<Detail> {
    actor.require(Permission::Operate, None)?;
    read(ctx.db.reader(), id).await
}

async fn read(conn: &impl ConnectionTrait, id: ChannelId) -> Result<Detail> {
    let row = store::find(conn, id).await?;
    let row = row.ok_or(Error::NotFound("channel"))?;
    let of = provider::store::find(conn, row.provider_id).await?;
    let of = of.ok_or(Error::NotFound("channel"))?;
    let secrets = sealed::store::names(conn, sealed::CHANNEL, [id.0].into_iter()).await?;
    detail(row, &of, &secrets)
}

fn detail(row: Model, of: &provider::entity::Model, secrets: &[(i64, String)]) -> Result<Detail> {
    Ok(Detail {
        provider: of.name.clone(),
        kind: of.kind.clone(),
        settings: serde_json::from_str(&row.settings)?,
        secrets: credentials::names_of(secrets, row.id.0),
        row,
    })
}

/// Sets a channel up.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], or a conflict when the name is taken.
pub async fn create(
    ctx: &Ctx,
    actor: &Actor,
    input: NewChannel,
    now: DateTime<Utc>,
) -> Result<Detail> {
    actor.require(Permission::Operate, None)?;
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let of = provider::store::find(&tx, input.provider).await?;
        let of = of.ok_or_else(no_provider)?;
        let service = of_kind(ctx, &of.kind).map_err(|why| Error::invalid("provider", why))?;
        let values = filled(ctx, &tx, (service, &of), Values::default(), &input.settings).await?;
        let shown = form::plain(service.channel_fields(), &values);
        let row = ActiveModel {
            provider_id: Set(of.id),
            name: Set(input.name.as_str().to_owned()),
            settings: Set(serde_json::to_string(&shown)?),
            disabled: Set(false),
            failures: Set(0),
            lease_until: Set(0),
            created_by: Set(Some(actor.user)),
            created_at: Set(now),
            updated_at: Set(now),
            ..ActiveModel::default()
        };
        let inserted = store::insert(&tx, row).await;
        let id = inserted.map_err(|error| refused(error, input.name.as_str()))?;
        let secrets = (service.channel_fields(), &input.settings);
        credentials::keep(&tx, &ctx.keys, owner(id), secrets, (actor.user, now)).await?;
        let made = read(&tx, id).await?;
        let entry = Entry::by(actor, Action::ChannelCreate, now)
            .on(ObjectKind::Channel, id.0, &made.row.name)
            .after(&audited(&made));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(made)
    })
    .await
}

fn no_provider() -> Error {
    Error::invalid("provider", "there is no such provider")
}

/// Changes a channel.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Invalid`], or a conflict when the name is
/// taken.
pub async fn update(
    ctx: &Ctx,
    actor: &Actor,
    id: ChannelId,
    change: ChannelChange,
    now: DateTime<Utc>,
) -> Result<Detail> {
    actor.require(Permission::Operate, None)?;
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        store::lock(&tx, &[id]).await?;
        let before = read(&tx, id).await?;
        let mut values = ActiveModel {
            updated_at: Set(now),
            ..ActiveModel::default()
        };
        if let Some(name) = &change.name {
            values.name = Set(name.as_str().to_owned());
        }
        if let Some(disabled) = change.disabled {
            values.disabled = Set(disabled);
        }
        let mut replaced = Vec::new();
        if let Some(input) = &change.settings {
            let of = provider::store::find(&tx, before.row.provider_id).await?;
            let of = of.ok_or(Error::NotFound("channel"))?;
            let service = of_kind(ctx, &of.kind).map_err(|why| Error::invalid("provider", why))?;
            let kept = opened(ctx, &tx, &before.row).await?;
            let all = filled(ctx, &tx, (service, &of), kept, input).await?;
            let shown = form::plain(service.channel_fields(), &all);
            values.settings = Set(serde_json::to_string(&shown)?);
            let secrets = (service.channel_fields(), input);
            credentials::keep(&tx, &ctx.keys, owner(id), secrets, (actor.user, now)).await?;
            let named = form::secrets(service.channel_fields(), input).map(|field| field.name);
            replaced.extend(named);
        }
        let name = change.name.as_ref().map_or("", DisplayName::as_str);
        let written = store::update(&tx, id, values).await;
        written.map_err(|error| refused(error, name))?;
        let after = read(&tx, id).await?;
        let mut state = audited(&after);
        if let (Some(fields), false) = (state.as_object_mut(), replaced.is_empty()) {
            fields.insert("secrets_written".to_owned(), json!(replaced));
        }
        let entry = Entry::by(actor, Action::ChannelUpdate, now)
            .on(ObjectKind::Channel, id.0, &after.row.name)
            .changed(&audited(&before), &state);
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(after)
    })
    .await
}

/// Deletes a channel with the record of what was sent there, unless somebody subscribes to it.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], or a conflict that names the projects.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: ChannelId) -> Result<()> {
    actor.require(Permission::Operate, None)?;
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        store::lock(&tx, &[id]).await?;
        let known = read(&tx, id).await?;
        let projects = subscription::store::projects_of_channel(&tx, id).await?;
        if !projects.is_empty() {
            let slugs = projects.iter().map(|row| row.slug.as_str());
            let message = format!("projects subscribe to the channel: {}", listed(slugs));
            return Err(Error::conflict("channel_in_use", message));
        }
        store::delete(&tx, id).await?;
        sealed::remove(&tx, sealed::CHANNEL, id.0).await?;
        let entry = Entry::by(actor, Action::ChannelDelete, crate::db::now())
            .on(ObjectKind::Channel, id.0, &known.row.name)
            .before(&audited(&known));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

fn owner(id: ChannelId) -> Owner {
    Owner {
        purpose: sealed::CHANNEL,
        id: id.0,
    }
}

/// Everything that a channel holds, decrypted; system-only.
///
/// # Errors
/// When a secret value cannot be decrypted, or the database fails.
pub(crate) async fn opened(ctx: &Ctx, conn: &impl ConnectionTrait, row: &Model) -> Result<Values> {
    credentials::open(conn, &ctx.keys, owner(row.id), &row.settings).await
}

async fn filled(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    (service, of): (&dyn Provider, &provider::entity::Model),
    kept: Values,
    input: &Values,
) -> Result<Values> {
    let values = form::fill(service.channel_fields(), kept, input).map_err(in_settings)?;
    let around = provider::service::opened(ctx, conn, of).await?;
    let checked = service.check_channel(&around, &values);
    checked.map_err(in_settings)?;
    Ok(values)
}

fn refused(error: DbErr, name: &str) -> Error {
    if is_duplicate(&error) {
        let message = format!("the provider has a channel `{name}` already");
        Error::conflict("name_taken", message)
    } else if is_orphan(&error) {
        no_provider()
    } else {
        error.into()
    }
}

/// A channel as the audit trail tells of it.
fn audited(detail: &Detail) -> serde_json::Value {
    json!({
        "name": detail.row.name,
        "provider": detail.provider,
        "settings": detail.settings,
        "secrets": detail.secrets,
        "disabled": detail.row.disabled,
    })
}
