//! Accounts.

use actix_web::{
    HttpResponse, get, patch, post,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::SystemRole,
    account::{
        self,
        entity::user,
        password::Password,
        service::{NewUser, UserChange},
    },
    ctx::Ctx,
    db,
    field::Problems,
    id::UserId,
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

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
        .service(update);
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

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    email: String,
    name: String,
    role: SystemRole,
    /// 12 to 1024 characters.
    #[schema(value_type = String)]
    password: SecretString,
}

/// Creates an account.
#[utoipa::path(tag = "users", request_body = CreateUser, responses((status = 201, body = UserView),
    (status = 401), (status = 403), (status = 409), (status = 422)))]
#[post("/users")]
async fn create(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<CreateUser>,
) -> Result<HttpResponse, Problem> {
    let mut problems = Problems::default();
    let email = problems.parse("email", &body.email);
    let name = problems.parse("name", &body.name);
    let password = problems.take(
        "password",
        Password::new(body.password).map_err(|error| error.to_string()),
    );
    let input = (|| {
        Some(NewUser {
            email: email?,
            name: name?,
            role: body.role,
            password: password?,
        })
    })();
    let row =
        account::service::create_user(&ctx, &actor, problems.finish(input)?, db::now()).await?;
    let location = format!("/api/v1/users/{}", row.id);
    Ok(HttpResponse::Created()
        .insert_header(("Location", location))
        .json(UserView::from(row)))
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
