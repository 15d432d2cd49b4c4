//! Signing in and out.

use actix_web::{HttpRequest, HttpResponse, get, post, web::Data};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    account,
    ctx::Ctx,
    db,
    id::UserId,
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    auth::{SignedIn, check_origin, cookie, no_cookie, origin},
    error::Problem,
    extract::Body,
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service.service(login).service(logout).service(me);
}

/// What signing in takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The account's address.
    email: String,
    /// Its password.
    #[schema(value_type = String)]
    password: SecretString,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeView {
    id: UserId,
    email: String,
    name: String,
    role: SystemRole,
    /// `session` or `token`.
    signed_in_by: &'static str,
}

impl From<Actor> for MeView {
    fn from(actor: Actor) -> Self {
        Self {
            id: actor.user,
            email: actor.email,
            name: actor.name,
            role: actor.role,
            signed_in_by: match actor.credential {
                Credential::Session(_) => "session",
                Credential::Token(_) => "token",
                Credential::Console => "console",
            },
        }
    }
}

/// Signs in; the answer sets the session cookie.
#[utoipa::path(tag = "sign-in", request_body = Login, security(()),
    responses((status = 200, body = MeView), (status = 401), (status = 429)))]
#[post("/auth/login")]
async fn login(
    ctx: Data<Ctx>,
    request: HttpRequest,
    body: Body<Login>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Body(body) = body;
    let signed_in = account::sign_in::sign_in(
        &ctx,
        &body.email,
        body.password,
        origin(&request),
        db::now(),
    )
    .await?;
    let cookie = cookie(&ctx, &signed_in.cookie);
    Ok(HttpResponse::Ok()
        .cookie(cookie)
        .json(MeView::from(signed_in.actor)))
}

/// Signs out; the session ends at once.
#[utoipa::path(tag = "sign-in", responses((status = 204), (status = 401)))]
#[post("/auth/logout")]
async fn logout(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    account::service::sign_out(&ctx, &actor).await?;
    Ok(HttpResponse::NoContent().cookie(no_cookie()).finish())
}

/// Who is signed in.
#[utoipa::path(tag = "sign-in", responses((status = 200, body = MeView), (status = 401)))]
#[get("/me")]
async fn me(SignedIn(actor): SignedIn) -> HttpResponse {
    HttpResponse::Ok().json(MeView::from(actor))
}
