//! One's own tokens and sessions.

use actix_web::{
    HttpResponse, delete, get, post,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::Credential,
    account::{
        self,
        entity::{api_token, session},
    },
    ctx::Ctx,
    db,
    field::{DisplayName, Problems},
    id::{SessionId, TokenId},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List},
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(list_tokens)
        .service(create_token)
        .service(revoke_token)
        .service(list_sessions)
        .service(end_session);
}

/// A token, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    id: TokenId,
    name: String,
    /// The last characters of its text.
    hint: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<api_token::Model> for TokenView {
    fn from(row: api_token::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.used_at,
        }
    }
}

/// A new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    name: String,
    /// When it ends; never otherwise.
    expires_at: Option<DateTime<Utc>>,
}

/// A token's text, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewTokenView {
    id: TokenId,
    name: String,
    /// To be sent as `Authorization: Bearer ...`.
    token: String,
    expires_at: Option<DateTime<Utc>>,
}

/// One's own tokens.
#[utoipa::path(tag = "sign-in", responses((status = 200, body = List<TokenView>), (status = 401)))]
#[get("/me/tokens")]
async fn list_tokens(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let rows = account::service::tokens(&ctx, &actor).await?;
    let items = rows.into_iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(List::whole(items)))
}

/// Makes a token.
#[utoipa::path(tag = "sign-in", request_body = CreateToken,
    responses((status = 201, body = NewTokenView), (status = 401), (status = 422)))]
#[post("/me/tokens")]
async fn create_token(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateToken>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = problems.parse::<DisplayName>("name", &body.name);
    let name = problems.finish(name)?;
    let (row, plain) =
        account::service::create_token(&ctx, &actor, &name, body.expires_at, db::now()).await?;
    Ok(HttpResponse::Created().json(NewTokenView {
        id: row.id,
        name: row.name,
        token: plain.expose_secret().to_owned(),
        expires_at: row.expires_at,
    }))
}

/// Revokes one of one's own tokens.
#[utoipa::path(tag = "sign-in", params(("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 404)))]
#[delete("/me/tokens/{id}")]
async fn revoke_token(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<TokenId>,
) -> Result<HttpResponse, Problem> {
    account::service::revoke_token(&ctx, &actor, id.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A signed-in browser.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    id: SessionId,
    address: String,
    user_agent: String,
    created_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    is_current: bool,
}

impl SessionView {
    fn new(row: session::Model, credential: Credential) -> Self {
        Self {
            is_current: credential == Credential::Session(row.id),
            id: row.id,
            address: row.address,
            user_agent: row.user_agent,
            created_at: row.created_at,
            seen_at: row.seen_at,
            expires_at: row.expires_at,
        }
    }
}

/// One's own sessions.
#[utoipa::path(tag = "sign-in",
    responses((status = 200, body = List<SessionView>), (status = 401)))]
#[get("/me/sessions")]
async fn list_sessions(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let rows = account::service::sessions(&ctx, &actor).await?;
    let items = rows
        .into_iter()
        .map(|row| SessionView::new(row, actor.credential))
        .collect();
    Ok(HttpResponse::Ok().json(List::whole(items)))
}

/// Ends one of one's own sessions.
#[utoipa::path(tag = "sign-in", params(("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 404)))]
#[delete("/me/sessions/{id}")]
async fn end_session(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<SessionId>,
) -> Result<HttpResponse, Problem> {
    account::service::end_session(&ctx, &actor, id.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}
