//! Accounts.

use actix_web::{
    HttpResponse, delete, get, patch, post,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::{Actor, SystemRole},
    account::{
        self,
        entity::user,
        kind::UserKind,
        password::Password,
        service::{
            Invitee, NewUser, UserChange,
            passwords::{self, Link},
            tokens,
        },
    },
    ctx::Ctx,
    db,
    field::Problems,
    id::{TokenId, UserId},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::me::{CreateToken, NewTokenView, TokenView};
use crate::{
    auth::SignedIn,
    error::Problem,
    extract::{Body, List, Page, limit},
    seal::Seal,
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(list)
        .service(create)
        .service(get)
        .service(update)
        .service(password_link)
        .service(list_tokens)
        .service(create_token)
        .service(revoke_token);
}

const LIST: &str = "users";

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    id: UserId,
    email: String,
    name: String,
    role: SystemRole,
    disabled: bool,
    /// A service has tokens and never signs in.
    kind: UserKind,
    /// Whether a person has no password: invited, and has set none yet, or only ever comes through the
    /// identity provider.
    pending: bool,
    /// Whether signing in asks for a second factor.
    second_factor: bool,
    created_at: DateTime<Utc>,
}

impl From<user::Model> for UserView {
    fn from(row: user::Model) -> Self {
        Self {
            id: row.id,
            email: row.email,
            name: row.name,
            role: row.role,
            disabled: row.disabled_at.is_some(),
            pending: row.kind == UserKind::Person && row.password_hash.is_empty(),
            kind: row.kind,
            second_factor: row.factor_at.is_some(),
            created_at: row.created_at,
        }
    }
}

/// Accounts.
#[utoipa::path(tag = "users", params(Page),
    responses((status = 200, body = List<UserView>), (status = 401), (status = 403)))]
#[get("/users")]
async fn list(
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    SignedIn(actor): SignedIn,
    page: Query<Page>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(page.limit)?;
    let after = seal.start(LIST, page.cursor.as_deref())?;
    let after = UserId(after.unwrap_or_default());
    let rows = account::service::list_users(&ctx, &actor, after, limit + 1).await?;
    let cursor = (&**seal, LIST, |row: &user::Model| row.id.0);
    Ok(HttpResponse::Ok().json(List::page(rows, limit, cursor, UserView::from)))
}

/// A new account. A person without a password is invited: the answer has a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    email: String,
    name: String,
    role: SystemRole,
    /// 12 to 1024 characters.
    #[schema(value_type = Option<String>)]
    password: Option<SecretString>,
    /// `person` otherwise.
    kind: Option<UserKind>,
}

/// A link to set a password, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkView {
    /// Where to open it; null unless `server.public_url` is set.
    url: Option<String>,
    /// What the page asks for.
    code: String,
    expires_at: DateTime<Utc>,
}

impl LinkView {
    fn new(ctx: &Ctx, link: &Link) -> Self {
        Self {
            url: link_url(ctx, link),
            code: link.code.expose_secret().to_owned(),
            expires_at: link.expires_at,
        }
    }
}

/// The code stands behind a `#`, where neither servers nor proxies see it.
pub(crate) fn link_url(ctx: &Ctx, link: &Link) -> Option<String> {
    let base = ctx.settings.server.public_url.as_deref()?;
    let (base, code) = (base.trim_end_matches('/'), link.code.expose_secret());
    Some(format!("{base}/password#{code}"))
}

/// An account that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewUserView {
    #[serde(flatten)]
    user: UserView,
    /// For a person without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<LinkView>,
}

/// Creates an account.
#[utoipa::path(tag = "users", request_body = CreateUser,
    responses((status = 201, body = NewUserView), (status = 401), (status = 403), (status = 409),
    (status = 422)))]
#[post("/users")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateUser>,
) -> Result<HttpResponse, Problem> {
    let (row, link) = made(&ctx, &actor, body).await?;
    let location = format!("/api/v1/users/{}", row.id);
    Ok(HttpResponse::Created()
        .insert_header(("Location", location))
        .json(NewUserView {
            user: UserView::from(row),
            invitation: link.map(|link| LinkView::new(&ctx, &link)),
        }))
}

async fn made(
    ctx: &Ctx,
    actor: &Actor,
    body: CreateUser,
) -> Result<(user::Model, Option<Link>), Problem> {
    let mut problems = Problems::default();
    let email = problems.parse("email", &body.email);
    let name = problems.parse("name", &body.name);
    let kind = body.kind.unwrap_or(UserKind::Person);
    let password = match body.password {
        None => Some(None),
        Some(_) if kind == UserKind::Service => problems.take(
            "password",
            Err("must be left out: a service has none".to_owned()),
        ),
        Some(plain) => {
            let checked = Password::new(plain).map_err(|error| error.to_string());
            problems.take("password", checked).map(Some)
        }
    };
    let input = (|| Some((email?, name?, password?)))();
    let (email, name, password) = problems.finish(input)?;
    let (role, now) = (body.role, db::now());
    let Some(password) = password else {
        let invitee = Invitee {
            email,
            name,
            role,
            kind,
        };
        return Ok(account::service::invite_user(ctx, actor, invitee, now).await?);
    };
    let input = NewUser {
        email,
        name,
        role,
        password,
    };
    let row = account::service::create_user(ctx, actor, input, now).await?;
    Ok((row, None))
}

/// Makes a link by which somebody sets a new password; earlier links end.
#[utoipa::path(tag = "users", params(("id" = i64, Path)),
    responses((status = 201, body = LinkView), (status = 401), (status = 403), (status = 404),
    (status = 409)))]
#[post("/users/{id}/password-link")]
async fn password_link(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let link = passwords::invite(&ctx, &actor, id.into_inner(), db::now()).await?;
    Ok(HttpResponse::Created().json(LinkView::new(&ctx, &link)))
}

/// A service's tokens.
#[utoipa::path(tag = "users", params(("id" = i64, Path)),
    responses((status = 200, body = List<TokenView>), (status = 401), (status = 403),
    (status = 404), (status = 409)))]
#[get("/users/{id}/tokens")]
async fn list_tokens(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let rows = tokens::list(&ctx, &actor, Some(id.into_inner())).await?;
    let items = rows.into_iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(List::whole(items)))
}

/// Makes a token for a service.
#[utoipa::path(tag = "users", params(("id" = i64, Path)), request_body = CreateToken,
    responses((status = 201, body = NewTokenView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[post("/users/{id}/tokens")]
async fn create_token(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<UserId>,
    Body(body): Body<CreateToken>,
) -> Result<HttpResponse, Problem> {
    let (new, of) = (body.parse()?, Some(id.into_inner()));
    let (row, plain) = tokens::create(&ctx, &actor, of, new, db::now()).await?;
    Ok(HttpResponse::Created().json(NewTokenView::new(row, &plain)))
}

/// Revokes a token of a service.
#[utoipa::path(tag = "users", params(("id" = i64, Path), ("token_id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/users/{id}/tokens/{token_id}")]
async fn revoke_token(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    path: Path<(UserId, TokenId)>,
) -> Result<HttpResponse, Problem> {
    let (of, id) = path.into_inner();
    tokens::revoke(&ctx, &actor, Some(of), id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// One account: one's own, or any for an Admin.
#[utoipa::path(tag = "users", params(("id" = i64, Path)),
    responses((status = 200, body = UserView), (status = 401), (status = 404)))]
#[get("/users/{id}")]
async fn get(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let row = account::service::get_user(&ctx, &actor, id.into_inner()).await?;
    Ok(HttpResponse::Ok().json(UserView::from(row)))
}

/// Changes to an account; a field that is missing stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    role: Option<SystemRole>,
    disabled: Option<bool>,
    name: Option<String>,
}

/// Changes an account.
#[utoipa::path(tag = "users", params(("id" = i64, Path)), request_body = ChangeUser,
    responses((status = 200, body = UserView), (status = 401), (status = 403), (status = 404),
    (status = 409), (status = 422)))]
#[patch("/users/{id}")]
async fn update(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<UserId>,
    Body(body): Body<ChangeUser>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let name = body
        .name
        .as_deref()
        .and_then(|name| problems.parse("name", name));
    let change = UserChange {
        role: body.role,
        disabled: body.disabled,
        name,
    };
    let change = problems.finish(Some(change))?;
    let row =
        account::service::update_user(&ctx, &actor, id.into_inner(), change, db::now()).await?;
    Ok(HttpResponse::Ok().json(UserView::from(row)))
}
