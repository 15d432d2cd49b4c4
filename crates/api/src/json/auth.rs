//! Signing in and out.

use actix_web::{HttpRequest, HttpResponse, get, post, web::Data};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use slipway_core::{
    access::{Actor, Credential, SystemRole},
    account::{
        self, second_step,
        service::passwords,
        sign_in::{self, Origin, Passed},
    },
    ctx::Ctx,
    db,
    error::Error,
    id::UserId,
    settings::LocalSignIn,
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{me::new_password, users::link_url};
use crate::{
    auth::{SignedIn, check_origin, cookie, no_cookie, origin},
    error::{Problem, ProblemBody},
    extract::Body,
    mail::Mailer,
    oidc,
};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(login)
        .service(second_factor)
        .service(logout)
        .service(provider)
        .service(forgot)
        .service(set_password)
        .service(me);
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
///
/// Where the account has a second factor, a right password is answered with 401 and
/// `second_factor_needed`, with a `challenge` that `POST /auth/second-factor` takes within five
/// minutes.
#[utoipa::path(tag = "sign-in", request_body = Login, security(()),
    responses((status = 200, body = MeView), (status = 401, body = ProblemBody), (status = 429)))]
#[post("/auth/login")]
async fn login(
    ctx: Data<Ctx>,
    request: HttpRequest,
    body: Body<Login>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Body(body) = body;
    let passed = sign_in::sign_in(
        &ctx,
        &body.email,
        body.password,
        origin(&request),
        db::now(),
    )
    .await?;
    match passed {
        Passed::SignedIn(signed_in) => Ok(begun(&ctx, signed_in)),
        Passed::NeedsFactor(challenge) => Err(Problem::second_factor_needed(challenge)),
    }
}

fn begun(ctx: &Ctx, signed_in: sign_in::SignedIn) -> HttpResponse {
    let cookie = cookie(ctx, &signed_in.cookie);
    HttpResponse::Ok()
        .cookie(cookie)
        .json(MeView::from(signed_in.actor))
}

/// The second step.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondStep {
    /// What `POST /auth/login` answered.
    #[schema(value_type = String)]
    challenge: SecretString,
    /// A code of the authenticator, or a recovery code.
    #[schema(value_type = String)]
    code: SecretString,
}

/// Finishes signing in; the answer sets the session cookie. A wrong code is answered with 422, and
/// may be followed by another one; 401 means that it has to begin anew with the password.
#[utoipa::path(tag = "sign-in", request_body = SecondStep, security(()),
    responses((status = 200, body = MeView), (status = 401), (status = 422), (status = 429)))]
#[post("/auth/second-factor")]
async fn second_factor(
    ctx: Data<Ctx>,
    request: HttpRequest,
    body: Body<SecondStep>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Body(body) = body;
    let (token, origin) = (body.challenge.expose_secret(), origin(&request));
    let signed_in = second_step::finish(&ctx, token, &body.code, origin, db::now()).await?;
    Ok(begun(&ctx, signed_in))
}

/// The identity provider that people may sign in at.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    /// What it is called.
    name: String,
    /// Where a browser begins; `?next=` and a path of ours lead back to that page.
    start: &'static str,
    /// Whether only Admins sign in with a password.
    passwords_for_admins_only: bool,
}

/// Whether people may sign in at an identity provider, and where that begins.
#[utoipa::path(tag = "sign-in", security(()),
    responses((status = 200, body = ProviderView), (status = 404)))]
#[get("/auth/provider")]
async fn provider(ctx: Data<Ctx>) -> Result<HttpResponse, Problem> {
    let settings = ctx.settings.oidc.as_ref();
    let settings = settings.ok_or(Error::NotFound("identity provider"))?;
    Ok(HttpResponse::Ok().json(ProviderView {
        name: settings.name.clone(),
        start: oidc::START,
        passwords_for_admins_only: settings.local_sign_in == LocalSignIn::AdminsOnly,
    }))
}

/// Whose password was forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgot {
    /// The account's address.
    email: String,
}

/// Sends a link to set a new password to an account's address. The answer is the same whether there
/// is such an account or not.
#[utoipa::path(tag = "sign-in", request_body = Forgot, security(()),
    responses((status = 202), (status = 409)))]
#[post("/auth/forgot")]
async fn forgot(
    ctx: Data<Ctx>,
    mailer: Data<Option<Mailer>>,
    request: HttpRequest,
    body: Body<Forgot>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Body(body) = body;
    send_link(&ctx, &mailer, body.email, &request)?;
    Ok(HttpResponse::Accepted().finish())
}

/// Goes on while the request is answered already, so that its time tells nothing.
pub(crate) fn send_link(
    ctx: &Data<Ctx>,
    mailer: &Data<Option<Mailer>>,
    email: String,
    request: &HttpRequest,
) -> Result<(), Problem> {
    let Some(mailer) = mailer.as_ref().clone() else {
        let message = "no mail is configured; ask an Admin for a link to set a new password";
        return Err(Error::conflict("mail_unavailable", message).into());
    };
    let (ctx, origin) = (ctx.clone(), origin(request));
    actix_web::rt::spawn(async move {
        if let Err(error) = send(&ctx, &mailer, &email, &origin).await {
            tracing::warn!(error = ?error, "a link to set a new password was not sent");
        }
    });
    Ok(())
}

async fn send(ctx: &Ctx, mailer: &Mailer, email: &str, origin: &Origin) -> anyhow::Result<()> {
    let found = passwords::forgotten(ctx, email, origin, db::now()).await?;
    let Some((address, link)) = found else {
        return Ok(());
    };
    let url = link_url(ctx, &link).unwrap_or_default();
    let text = format!(
        "Somebody asked for a new password for {address} on Slipway.\n\n\
         Set one here within an hour:\n{url}\n\n\
         If it was not you, there is nothing to do: the password stays as it is.\n"
    );
    mailer.send(&address, "Set a new password", text).await
}

/// A password by link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// What the link ends with, after the `#`.
    #[schema(value_type = String)]
    code: SecretString,
    /// 12 to 1024 characters.
    #[schema(value_type = String)]
    password: SecretString,
}

/// Sets a password by a link, which ends with that, as do all sessions of the account.
#[utoipa::path(tag = "sign-in", request_body = SetPassword, security(()),
    responses((status = 204), (status = 422), (status = 429)))]
#[post("/auth/password")]
async fn set_password(
    ctx: Data<Ctx>,
    request: HttpRequest,
    body: Body<SetPassword>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Body(body) = body;
    let (code, password) = (body.code.expose_secret(), new_password(body.password)?);
    passwords::set_by_link(&ctx, code, password, &origin(&request), db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Signs out; the session ends at once.
#[utoipa::path(tag = "sign-in", responses((status = 204), (status = 401)))]
#[post("/auth/logout")]
async fn logout(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    account::service::sign_out(&ctx, &actor).await?;
    Ok(HttpResponse::NoContent().cookie(no_cookie(&ctx)).finish())
}

/// Who is signed in.
#[utoipa::path(tag = "sign-in", responses((status = 200, body = MeView), (status = 401)))]
#[get("/me")]
async fn me(SignedIn(actor): SignedIn) -> HttpResponse {
    HttpResponse::Ok().json(MeView::from(actor))
}
