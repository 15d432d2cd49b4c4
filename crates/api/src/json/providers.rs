//! Services that carry messages, with their credentials, which are written and never read back.

use actix_web::{
    HttpResponse, delete, get, patch, post,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_core::{
    ctx::Ctx,
    db,
    field::{DisplayName, Problems},
    id::ProviderId,
    notify::{
        Field, FieldKind, Provider, Values,
        provider::service::{self, Choice, Detail, NewProvider, ProviderChange},
    },
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List},
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    // What is one of the words is no number, so these come first.
    service
        .service(described)
        .service(offered)
        .service(list)
        .service(create)
        .service(get)
        .service(update)
        .service(delete);
}

/// A provider, without its secret values.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    id: ProviderId,
    name: String,
    /// Which service; `/providers/kinds` describes them.
    kind: String,
    /// What its fields hold, but for the secret ones.
    #[schema(value_type = BTreeMap<String, String>)]
    settings: Values,
    /// The names of the secret fields that hold something.
    secrets: Vec<String>,
    /// Whether nothing is sent with it.
    disabled: bool,
    /// How many attempts to send have failed since one worked.
    failures: i64,
    /// When an attempt last worked.
    succeeded_at: Option<DateTime<Utc>>,
    /// Until when nothing is sent, because too many attempts have failed.
    paused_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Detail> for ProviderView {
    fn from(detail: Detail) -> Self {
        let row = detail.row;
        Self {
            id: row.id,
            name: row.name,
            kind: row.kind,
            settings: detail.settings,
            secrets: detail.secrets,
            disabled: row.disabled,
            failures: row.failures,
            succeeded_at: row.succeeded_us.and_then(DateTime::from_timestamp_micros),
            paused_until: row.open_until_us.and_then(DateTime::from_timestamp_micros),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// One kind of service, and what it has to be told.
#[derive(Debug, Serialize, ToSchema)]
pub struct KindView {
    kind: &'static str,
    label: &'static str,
    /// What a provider's settings are.
    provider_fields: Vec<FieldView>,
    /// What a channel's settings are.
    channel_fields: Vec<FieldView>,
}

/// One value to fill in.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldView {
    name: &'static str,
    label: &'static str,
    help: &'static str,
    required: bool,
    /// Whether it is encrypted and never answered.
    secret: bool,
    #[serde(rename = "type")]
    kind: &'static str,
    /// For a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<u32>,
    /// For a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<u32>,
    /// For a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<&'static [&'static str]>,
}

impl From<&Field> for FieldView {
    fn from(field: &Field) -> Self {
        let (kind, limits, choices) = match field.kind {
            FieldKind::Text => ("text", None, None),
            FieldKind::Url => ("url", None, None),
            FieldKind::Number(least, most) => ("number", Some((least, most)), None),
            FieldKind::Addresses => ("addresses", None, None),
            FieldKind::Choice(choices) => ("choice", None, Some(choices)),
        };
        let (minimum, maximum) = limits.unzip();
        Self {
            name: field.name,
            label: field.label,
            help: field.help,
            required: field.required,
            secret: field.secret,
            kind,
            minimum,
            maximum,
            choices,
        }
    }
}

impl From<&dyn Provider> for KindView {
    fn from(service: &dyn Provider) -> Self {
        let fields = |fields: &[Field]| fields.iter().map(FieldView::from).collect();
        Self {
            kind: service.kind(),
            label: service.label(),
            provider_fields: fields(service.provider_fields()),
            channel_fields: fields(service.channel_fields()),
        }
    }
}

/// The services that there are, and what each has to be told.
#[utoipa::path(tag = "notifications",
    responses((status = 200, body = List<KindView>), (status = 401), (status = 403)))]
#[get("/providers/kinds")]
async fn described(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let kinds = service::kinds(&ctx, &actor)?;
    let views = kinds.iter().map(|service| KindView::from(&**service));
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}

/// A provider that a channel may belong to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderChoice {
    id: ProviderId,
    name: String,
    kind: String,
    disabled: bool,
}

impl From<Choice> for ProviderChoice {
    fn from(choice: Choice) -> Self {
        Self {
            id: choice.id,
            name: choice.name,
            kind: choice.kind,
            disabled: choice.disabled,
        }
    }
}

/// The providers that a channel may belong to, for those who set channels up.
#[utoipa::path(tag = "notifications",
    responses((status = 200, body = List<ProviderChoice>), (status = 401), (status = 403)))]
#[get("/providers/choices")]
async fn offered(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let choices = service::choices(&ctx, &actor).await?;
    let views = choices.into_iter().map(ProviderChoice::from);
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}

/// Every provider.
#[utoipa::path(tag = "notifications",
    responses((status = 200, body = List<ProviderView>), (status = 401), (status = 403)))]
#[get("/providers")]
async fn list(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let details = service::list(&ctx, &actor).await?;
    let views = details.into_iter().map(ProviderView::from);
    Ok(HttpResponse::Ok().json(List::whole(views.collect())))
}

/// A new provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProvider {
    name: String,
    /// Which service; `/providers/kinds` describes them.
    kind: String,
    /// What its fields hold, by name.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    settings: Values,
}

/// Sets a provider up.
#[utoipa::path(tag = "notifications", request_body = CreateProvider,
    responses((status = 201, body = ProviderView), (status = 401), (status = 403), (status = 409),
    (status = 422)))]
#[post("/providers")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateProvider>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = problems.parse::<DisplayName>("name", body.name.trim());
    let input = name.map(|name| NewProvider {
        name,
        kind: body.kind,
        settings: body.settings,
    });
    let made = service::create(&ctx, &actor, problems.finish(input)?, db::now()).await?;
    Ok(HttpResponse::Created().json(ProviderView::from(made)))
}

/// A provider.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 200, body = ProviderView), (status = 401), (status = 403), (status = 404)))]
#[get("/providers/{id}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ProviderId>,
) -> Result<HttpResponse, Problem> {
    let detail = service::get(&ctx, &actor, *id).await?;
    Ok(HttpResponse::Ok().json(ProviderView::from(detail)))
}

/// Changes to a provider; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateProvider {
    name: Option<String>,
    disabled: Option<bool>,
    /// Fields to fill in anew. A field that is left out keeps its value, also a secret one; an empty
    /// text takes it away.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    settings: Option<Values>,
}

/// Changes a provider, and lets it be tried anew if it was paused.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)), request_body = UpdateProvider,
    responses((status = 200, body = ProviderView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[patch("/providers/{id}")]
async fn update(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ProviderId>,
    Body(body): Body<UpdateProvider>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = body.name.as_deref().map(str::trim);
    let change = ProviderChange {
        name: name.and_then(|name| problems.parse("name", name)),
        disabled: body.disabled,
        settings: body.settings,
    };
    let change = problems.finish(Some(change))?;
    let changed = service::update(&ctx, &actor, *id, change, db::now()).await?;
    Ok(HttpResponse::Ok().json(ProviderView::from(changed)))
}

/// Deletes a provider that has no channels.
#[utoipa::path(tag = "notifications", params(("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/providers/{id}")]
async fn delete(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<ProviderId>,
) -> Result<HttpResponse, Problem> {
    service::delete(&ctx, &actor, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}
