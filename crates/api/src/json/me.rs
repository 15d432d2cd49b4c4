//! One's own tokens and sessions.

use actix_web::{
    HttpRequest, HttpResponse, delete, get, patch, post, put,
    web::{Data, Path},
};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::{Credential, Limits, TokenScope},
    account::{
        self,
        entity::{api_token, session},
        password::Password,
        service::{
            UserChange, passwords,
            tokens::{self, NewToken},
        },
        sign_in,
    },
    ctx::Ctx,
    db,
    field::{DisplayName, Problems},
    id::{ProjectId, SessionId, TokenId},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::projects::present;
use crate::{
    auth::{SignedIn, cookie, origin},
    error::Problem,
    extract::{Body, List},
};

/// Days that a token lasts unless its maker says otherwise.
const TOKEN_DAYS: i64 = 90;

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(list_tokens)
        .service(create_token)
        .service(revoke_token)
        .service(list_sessions)
        .service(end_session)
        .service(change_me)
        .service(change_password);
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
    /// What it is good for, as far as its owner has the right.
    scopes: Vec<TokenScope>,
    /// The only projects that it is good for; null for all.
    projects: Option<Vec<ProjectId>>,
}

impl From<api_token::Model> for TokenView {
    fn from(row: api_token::Model) -> Self {
        let limits = sign_in::limits(&row.scopes, row.projects.as_deref());
        Self {
            scopes: limits.scopes,
            projects: limits.projects,
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
    /// When it ends; in 90 days if this is left out, never if it is null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<Option<DateTime<Utc>>>,
    /// What it is good for; everything that its owner may if this is left out.
    scopes: Option<Vec<TokenScope>>,
    /// Ids of the only projects that it is good for; all if this is left out.
    projects: Option<Vec<ProjectId>>,
}

impl CreateToken {
    pub(super) fn parse(self) -> Result<NewToken, Problem> {
        let mut problems = Problems::default();
        let name = problems.parse::<DisplayName>("name", &self.name);
        let usual = db::now() + TimeDelta::days(TOKEN_DAYS);
        Ok(NewToken {
            name: problems.finish(name)?,
            expires_at: self.expires_at.unwrap_or(Some(usual)),
            limits: Limits {
                scopes: self.scopes.unwrap_or_else(|| vec![TokenScope::Admin]),
                projects: self.projects,
            },
        })
    }
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

impl NewTokenView {
    pub(super) fn new(row: api_token::Model, plain: &SecretString) -> Self {
        Self {
            id: row.id,
            name: row.name,
            token: plain.expose_secret().to_owned(),
            expires_at: row.expires_at,
        }
    }
}

/// One's own tokens.
#[utoipa::path(tag = "sign-in", responses((status = 200, body = List<TokenView>), (status = 401)))]
#[get("/me/tokens")]
async fn list_tokens(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let rows = tokens::list(&ctx, &actor, None).await?;
    let items = rows.into_iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(List::whole(items)))
}

/// Makes a token.
#[utoipa::path(tag = "sign-in", request_body = CreateToken,
    responses((status = 201, body = NewTokenView), (status = 401), (status = 403), (status = 422)))]
#[post("/me/tokens")]
async fn create_token(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateToken>,
) -> Result<HttpResponse, Problem> {
    let new = body.parse()?;
    let (row, plain) = tokens::create(&ctx, &actor, None, new, db::now()).await?;
    Ok(HttpResponse::Created().json(NewTokenView::new(row, &plain)))
}

/// Revokes one of one's own tokens.
#[utoipa::path(tag = "sign-in", params(("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/me/tokens/{id}")]
async fn revoke_token(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<TokenId>,
) -> Result<HttpResponse, Problem> {
    tokens::revoke(&ctx, &actor, None, id.into_inner()).await?;
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
    responses((status = 204), (status = 401), (status = 403), (status = 404)))]
#[delete("/me/sessions/{id}")]
async fn end_session(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<SessionId>,
) -> Result<HttpResponse, Problem> {
    account::service::end_session(&ctx, &actor, id.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// One's own profile.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMe {
    /// The name that others see.
    name: String,
}

/// Changes one's own profile.
#[utoipa::path(tag = "sign-in", request_body = ChangeMe,
    responses((status = 204), (status = 401), (status = 403), (status = 422)))]
#[patch("/me")]
async fn change_me(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<ChangeMe>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = problems.parse::<DisplayName>("name", &body.name);
    let change = UserChange {
        name: Some(problems.finish(name)?),
        ..UserChange::default()
    };
    account::service::update_user(&ctx, &actor, actor.user, change, db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A new password for oneself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password until now.
    #[schema(value_type = String)]
    current: SecretString,
    /// 12 to 1024 characters.
    #[schema(value_type = String)]
    password: SecretString,
}

/// Changes one's own password. Every session ends; the answer sets the cookie of a new one.
#[utoipa::path(tag = "sign-in", request_body = ChangePassword,
    responses((status = 204), (status = 401), (status = 403), (status = 422), (status = 429)))]
#[put("/me/password")]
async fn change_password(
    ctx: Data<Ctx>,
    request: HttpRequest,
    SignedIn(actor): SignedIn,
    Body(body): Body<ChangePassword>,
) -> Result<HttpResponse, Problem> {
    let new = new_password(body.password)?;
    let change = (body.current, new);
    let origin = origin(&request);
    let signed_in = passwords::change(&ctx, &actor, change, origin, db::now()).await?;
    let mut answer = HttpResponse::NoContent();
    if let Some(signed_in) = signed_in {
        answer.cookie(cookie(&ctx, &signed_in.cookie));
    }
    Ok(answer.finish())
}

pub(super) fn new_password(plain: SecretString) -> Result<Password, Problem> {
    let mut problems = Problems::default();
    let checked = Password::new(plain).map_err(|error| error.to_string());
    let password = problems.take("password", checked);
    Ok(problems.finish(password)?)
}
