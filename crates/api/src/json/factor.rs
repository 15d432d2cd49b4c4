//! One's own second factor, and an Admin's way to remove a lost one.

use actix_web::{
    HttpResponse, delete, get, post,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use slipway_core::{
    account::service::factor::{self, FactorState, Proofs},
    ctx::Ctx,
    db,
    id::UserId,
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{auth::SignedIn, error::Problem, extract::Body};

pub(super) fn routes(service: &mut ServiceConfig<'_>) {
    service
        .service(state)
        .service(start)
        .service(confirm)
        .service(renew_codes)
        .service(disable)
        .service(remove);
}

/// One's own second factor.
#[derive(Debug, Serialize, ToSchema)]
pub struct FactorView {
    /// Since when a code is asked for; null while it is off.
    since: Option<DateTime<Utc>>,
    /// Recovery codes that were not used yet.
    recovery_codes_left: u64,
    /// Whether this installation asks the account for one.
    required: bool,
}

impl From<FactorState> for FactorView {
    fn from(known: FactorState) -> Self {
        Self {
            since: known.since,
            recovery_codes_left: known.codes_left,
            required: known.is_required,
        }
    }
}

/// Whether one has a second factor.
#[utoipa::path(tag = "sign-in", responses((status = 200, body = FactorView), (status = 401)))]
#[get("/me/second-factor")]
async fn state(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let known = factor::state(&ctx, &actor).await?;
    Ok(HttpResponse::Ok().json(FactorView::from(known)))
}

/// What starting takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartFactor {
    /// The account's password; an account without one leaves it out.
    #[serde(default)]
    #[schema(value_type = String)]
    password: SecretString,
}

/// What an authenticator is told, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnrolmentView {
    /// The secret in base 32.
    secret: String,
    /// The same as an `otpauth://` address, which a QR code would hold.
    uri: String,
}

/// Makes the secret of a second factor. Nothing changes until a code of it is confirmed.
#[utoipa::path(tag = "sign-in", request_body = StartFactor,
    responses((status = 201, body = EnrolmentView), (status = 401), (status = 403), (status = 409),
    (status = 422), (status = 429)))]
#[post("/me/second-factor")]
async fn start(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<StartFactor>,
) -> Result<HttpResponse, Problem> {
    let made = factor::start(&ctx, &actor, body.password, db::now()).await?;
    Ok(HttpResponse::Created().json(EnrolmentView {
        secret: made.secret.expose_secret().to_owned(),
        uri: made.uri.expose_secret().to_owned(),
    }))
}

/// A first code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmFactor {
    /// Six digits that the authenticator shows.
    #[schema(value_type = String)]
    code: SecretString,
}

/// Recovery codes, shown this once. Each of them works once in the place of a code.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

impl RecoveryCodes {
    fn new(codes: &[SecretString]) -> Self {
        let text = |code: &SecretString| code.expose_secret().to_owned();
        Self {
            recovery_codes: codes.iter().map(text).collect(),
        }
    }
}

/// Switches the second factor on. One's other sessions end.
#[utoipa::path(tag = "sign-in", request_body = ConfirmFactor,
    responses((status = 200, body = RecoveryCodes), (status = 401), (status = 403), (status = 409),
    (status = 422), (status = 429)))]
#[post("/me/second-factor/confirm")]
async fn confirm(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<ConfirmFactor>,
) -> Result<HttpResponse, Problem> {
    let codes = factor::confirm(&ctx, &actor, &body.code, db::now()).await?;
    Ok(HttpResponse::Ok().json(RecoveryCodes::new(&codes)))
}

/// What changes of a second factor take.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeFactor {
    /// The account's password; an account without one leaves it out.
    #[serde(default)]
    #[schema(value_type = String)]
    password: SecretString,
    /// A code of the authenticator, or a recovery code.
    #[schema(value_type = String)]
    code: SecretString,
}

impl From<ChangeFactor> for Proofs {
    fn from(body: ChangeFactor) -> Self {
        Self {
            password: body.password,
            code: body.code,
        }
    }
}

/// Makes new recovery codes; the old ones end.
#[utoipa::path(tag = "sign-in", request_body = ChangeFactor,
    responses((status = 200, body = RecoveryCodes), (status = 401), (status = 403), (status = 409),
    (status = 422), (status = 429)))]
#[post("/me/second-factor/recovery-codes")]
async fn renew_codes(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<ChangeFactor>,
) -> Result<HttpResponse, Problem> {
    let codes = factor::renew_codes(&ctx, &actor, body.into(), db::now()).await?;
    Ok(HttpResponse::Ok().json(RecoveryCodes::new(&codes)))
}

/// Switches the second factor off.
#[utoipa::path(tag = "sign-in", request_body = ChangeFactor,
    responses((status = 204), (status = 401), (status = 403), (status = 409), (status = 422),
    (status = 429)))]
#[post("/me/second-factor/disable")]
async fn disable(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    Body(body): Body<ChangeFactor>,
) -> Result<HttpResponse, Problem> {
    factor::disable(&ctx, &actor, body.into(), db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes the second factor of somebody who has lost it. Their sessions end.
#[utoipa::path(tag = "users", params(("id" = i64, Path)),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 409)))]
#[delete("/users/{id}/second-factor")]
async fn remove(
    ctx: Data<Ctx>,
    SignedIn(actor): SignedIn,
    id: Path<UserId>,
) -> Result<HttpResponse, Problem> {
    factor::remove(&ctx, &actor, id.into_inner(), db::now()).await?;
    Ok(HttpResponse::NoContent().finish())
}
