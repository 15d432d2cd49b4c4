//! What people do with providers: credentials, which only Admins handle.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr};
use serde_json::json;

use super::{
    Provider, Registry, Values,
    entity::{ActiveModel, Model},
    store,
};
use crate::{
    access::{Actor, Permission},
    audit::entry::{Action, Entry, ObjectKind},
    ctx::Ctx,
    db::is_duplicate,
    error::{Error, FieldError, Result},
    field::DisplayName,
    id::ProviderId,
    notify::{
        channel,
        credentials::{self, Owner},
        form,
    },
    pipeline::suggest,
    vault::sealed,
};

/// A provider as people see it.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Its row.
    pub row: Model,
    /// What is not secret.
    pub settings: Values,
    /// The names of the secret values that it has.
    pub secrets: Vec<String>,
}

/// A new provider.
#[derive(Debug)]
pub struct NewProvider {
    /// Its name.
    pub name: DisplayName,
    /// Which service.
    pub kind: String,
    /// What the service's fields hold.
    pub settings: Values,
}

/// Changes to a provider; what is `None` stays.
#[derive(Debug, Default)]
pub struct ProviderChange {
    /// Its name.
    pub name: Option<DisplayName>,
    /// Whether nothing is sent with it.
    pub disabled: Option<bool>,
    /// Fields that are filled in anew; those that are not named stay, an empty text takes one away.
    pub settings: Option<Values>,
}

/// Every provider, by name.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn list(ctx: &Ctx, actor: &Actor) -> Result<Vec<Detail>> {
    actor.require(Permission::Administer, None)?;
    let conn = ctx.db.reader();
    let rows = store::list(conn).await?;
    let ids = rows.iter().map(|row| row.id.0);
    let secrets = sealed::store::names(conn, sealed::PROVIDER, ids).await?;
    rows.into_iter().map(|row| detail(row, &secrets)).collect()
}

/// Every provider for those who set up channels: not what is in it.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn choices(ctx: &Ctx, actor: &Actor) -> Result<Vec<Choice>> {
    actor.require(Permission::Operate, None)?;
    let rows = store::list(ctx.db.reader()).await?;
    let choices = rows.into_iter().map(|row| Choice {
        id: row.id,
        name: row.name,
        kind: row.kind,
        disabled: row.disabled,
    });
    Ok(choices.collect())
}

/// The services that there are, for those who set up providers or channels.
///
/// # Errors
/// [`Error::Forbidden`].
pub fn kinds<'a>(ctx: &'a Ctx, actor: &Actor) -> Result<&'a Registry> {
    actor.require(Permission::Operate, None)?;
    Ok(&ctx.providers)
}

/// A provider that a channel may belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its number.
    pub id: ProviderId,
    /// Its name.
    pub name: String,
    /// Which service.
    pub kind: String,
    /// Whether nothing is sent with it.
    pub disabled: bool,
}

/// One provider.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn get(ctx: &Ctx, actor: &Actor, id: ProviderId) -> Result<Detail> {
    actor.require(Permission::Administer, None)?;
    read(ctx.db.reader(), id).await
}

async fn read(conn: &impl ConnectionTrait, id: ProviderId) -> Result<Detail> {
    let row = store::find(conn, id).await?;
    let row = row.ok_or(Error::NotFound("provider"))?;
    let secrets = sealed::store::names(conn, sealed::PROVIDER, [id.0].into_iter()).await?;
    detail(row, &secrets)
}

fn detail(row: Model, secrets: &[(i64, String)]) -> Result<Detail> {
    Ok(Detail {
        settings: serde_json::from_str(&row.settings)?,
        secrets: credentials::names_of(secrets, row.id.0),
        row,
    })
}

/// Sets a provider up.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], or a conflict when the name is taken.
pub async fn create(
    ctx: &Ctx,
    actor: &Actor,
    input: NewProvider,
    now: DateTime<Utc>,
) -> Result<Detail> {
    actor.require(Permission::Administer, None)?;
    let service = of_kind(ctx, &input.kind).map_err(|why| Error::invalid("kind", why))?;
    let values = filled(service, Values::default(), &input.settings)?;
    let shown = form::plain(service.provider_fields(), &values);
    let row = || -> Result<ActiveModel> {
        Ok(ActiveModel {
            name: Set(input.name.as_str().to_owned()),
            kind: Set(service.kind().to_owned()),
            settings: Set(serde_json::to_string(&shown)?),
            disabled: Set(false),
            failures: Set(0),
            openings: Set(0),
            created_by: Set(Some(actor.user)),
            created_at: Set(now),
            updated_at: Set(now),
            ..ActiveModel::default()
        })
    };
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let inserted = store::insert(&tx, row()?).await;
        let id = inserted.map_err(|error| name_taken(error, input.name.as_str()))?;
        let secrets = (service.provider_fields(), &input.settings);
        credentials::keep(&tx, &ctx.keys, owner(id), secrets, (actor.user, now)).await?;
        let made = read(&tx, id).await?;
        let entry = Entry::by(actor, Action::ProviderCreate, now)
            .on(ObjectKind::Provider, id.0, &made.row.name)
            .after(&audited(&made));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(made)
    })
    .await
}

/// Changes a provider. Whatever is changed closes its circuit: it is tried anew.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Invalid`], or a conflict when the name is
/// taken.
pub async fn update(
    ctx: &Ctx,
    actor: &Actor,
    id: ProviderId,
    change: ProviderChange,
    now: DateTime<Utc>,
) -> Result<Detail> {
    actor.require(Permission::Administer, None)?;
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        let row = store::lock(&tx, id).await?;
        let row = row.ok_or(Error::NotFound("provider"))?;
        let before = read(&tx, id).await?;
        let mut values = ActiveModel {
            failures: Set(0),
            openings: Set(0),
            open_until_us: Set(None),
            updated_at: Set(now),
            ..ActiveModel::default()
        };
        if let Some(name) = &change.name {
            values.name = Set(name.as_str().to_owned());
        }
        if let Some(disabled) = change.disabled {
            values.disabled = Set(disabled);
        }
        if let Some(input) = &change.settings {
            let service = of_kind(ctx, &row.kind).map_err(|why| Error::invalid("kind", why))?;
            let kept = opened(ctx, &tx, &row).await?;
            let all = filled(service, kept, input)?;
            let shown = form::plain(service.provider_fields(), &all);
            values.settings = Set(serde_json::to_string(&shown)?);
            let secrets = (service.provider_fields(), input);
            credentials::keep(&tx, &ctx.keys, owner(id), secrets, (actor.user, now)).await?;
        }
        let name = change.name.as_ref().map_or("", DisplayName::as_str);
        let written = store::update(&tx, id, values).await;
        written.map_err(|error| name_taken(error, name))?;
        let after = read(&tx, id).await?;
        let mut entry = Entry::by(actor, Action::ProviderUpdate, now)
            .on(ObjectKind::Provider, id.0, &after.row.name)
            .changed(&audited(&before), &audited(&after));
        entry = rewritten(entry, change.settings.as_ref(), (&before, &after));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(after)
    })
    .await
}

/// Says of a secret value that was replaced by another one that it was.
fn rewritten(entry: Entry, input: Option<&Values>, (before, after): (&Detail, &Detail)) -> Entry {
    let is_again = |name: &&str| before.secrets.iter().any(|known| known == name);
    let names: Vec<&str> = input
        .into_iter()
        .flat_map(Values::iter)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name)
        .filter(is_again)
        .collect();
    if names.is_empty() {
        return entry;
    }
    let mut state = audited(after);
    if let Some(fields) = state.as_object_mut() {
        fields.insert("secrets_replaced".to_owned(), json!(names));
    }
    entry.changed(&audited(before), &state)
}

/// Deletes a provider, unless it has channels.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], or a conflict that names its channels.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: ProviderId) -> Result<()> {
    actor.require(Permission::Administer, None)?;
    crate::db::retried(|| async {
        let tx = ctx.db.begin().await?;
        store::lock(&tx, id).await?;
        let known = read(&tx, id).await?;
        let channels = channel::store::of_provider(&tx, id).await?;
        if !channels.is_empty() {
            let names = channels.iter().map(|row| row.name.as_str());
            let message = format!("the provider has channels: {}", listed(names));
            return Err(Error::conflict("provider_in_use", message));
        }
        store::delete(&tx, id).await?;
        sealed::remove(&tx, sealed::PROVIDER, id.0).await?;
        let entry = Entry::by(actor, Action::ProviderDelete, crate::db::now())
            .on(ObjectKind::Provider, id.0, &known.row.name)
            .before(&audited(&known));
        ctx.audit.record(&tx, &entry).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// Some names, and how many more there are.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The service of that kind.
///
/// # Errors
/// A sentence that names the nearest one.
pub(crate) fn of_kind<'a>(ctx: &'a Ctx, kind: &str) -> Result<&'a dyn Provider, String> {
    let service = ctx.providers.get(kind).map(|service| &**service);
    service.ok_or_else(|| {
        let kinds: Vec<_> = ctx.providers.iter().map(|known| known.kind()).collect();
        format!("there is no such service; {}", suggest::hint(kind, &kinds))
    })
}

fn owner(id: ProviderId) -> Owner {
    Owner {
        purpose: sealed::PROVIDER,
        id: id.0,
    }
}

/// Everything that a provider holds, decrypted; system-only.
///
/// # Errors
/// When a secret value cannot be decrypted, or the database fails.
pub(crate) async fn opened(ctx: &Ctx, conn: &impl ConnectionTrait, row: &Model) -> Result<Values> {
    credentials::open(conn, &ctx.keys, owner(row.id), &row.settings).await
}

fn filled(service: &dyn Provider, kept: Values, input: &Values) -> Result<Values> {
    let values = form::fill(service.provider_fields(), kept, input).map_err(in_settings)?;
    service.check_provider(&values).map_err(in_settings)?;
    Ok(values)
}

/// Says where in the input the fields are.
pub(crate) fn in_settings(errors: Vec<FieldError>) -> Error {
    let within = |error: FieldError| FieldError {
        field: format!("settings.{}", error.field),
        ..error
    };
    Error::Invalid(errors.into_iter().map(within).collect())
}

fn name_taken(error: DbErr, name: &str) -> Error {
    if is_duplicate(&error) {
        Error::conflict(
            "name_taken",
            format!("there is a provider `{name}` already"),
        )
    } else {
        error.into()
    }
}

/// A provider as the audit trail tells of it.
fn audited(detail: &Detail) -> serde_json::Value {
    json!({
        "name": detail.row.name,
        "kind": detail.row.kind,
        "settings": detail.settings,
        "secrets": detail.secrets,
        "disabled": detail.row.disabled,
    })
}
