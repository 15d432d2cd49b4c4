//! Signing in at the identity provider: the way there, and back.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use serde::Deserialize;
use slipway_core::{account::provider, ctx::Ctx, db, error::Error};

use super::{
    frame::{Frame, html, see_other},
    sign_in::{local, went_on},
    table::Pages,
};
use crate::{
    auth::origin,
    cookie::Brief,
    error::Problem,
    oidc::{self, Provider, Trouble},
};

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages.get(oidc::START, start).get(oidc::CALLBACK, callback);
}

#[derive(Template)]
#[template(path = "provider.html")]
struct ProviderPage<'a> {
    frame: Frame,
    name: &'a str,
    detail: &'a str,
}

/// Says why somebody was not signed in; everything else goes on as before.
fn refused(
    ctx: &Ctx,
    provider: &Provider,
    status: StatusCode,
    detail: &str,
) -> Result<HttpResponse, Problem> {
    let page = ProviderPage {
        frame: Frame::public(),
        name: &provider.settings().name,
        detail,
    };
    let mut answer = html(HttpResponse::build(status), &page)?;
    answer
        .add_cookie(&Brief::PROVIDER.forgotten(ctx))
        .map_err(|error| db::broken(error.to_string()))?;
    Ok(answer)
}

fn in_trouble(ctx: &Ctx, provider: &Provider, trouble: &Trouble) -> Result<HttpResponse, Problem> {
    tracing::warn!(error = ?trouble, "signing in at the identity provider failed");
    let (status, detail) = match trouble {
        Trouble::Away(_) => (
            StatusCode::BAD_GATEWAY,
            "It cannot be reached, or does not answer as it should. Try again in a minute; \
             the server's log says more.",
        ),
        Trouble::Untrusted(_) => (
            StatusCode::UNAUTHORIZED,
            "What it answered cannot be trusted, so you are not signed in. The server's log says \
             more.",
        ),
    };
    refused(ctx, provider, status, detail)
}

fn configured(provider: &Data<Option<Provider>>) -> Result<&Provider, Problem> {
    let provider = provider.as_ref().as_ref();
    Ok(provider.ok_or(Error::NotFound("page"))?)
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    next: String,
}

async fn start(
    ctx: Data<Ctx>,
    provider: Data<Option<Provider>>,
    request: HttpRequest,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let provider = configured(&provider)?;
    let started = provider::start(&ctx, local(&wanted.next), &origin(&request), db::now()).await?;
    let place = match provider.start_url(&started.secret).await {
        Ok(place) => place,
        Err(trouble) => return in_trouble(&ctx, provider, &trouble),
    };
    let mut answer = see_other(place);
    answer
        .add_cookie(&Brief::PROVIDER.holding(&ctx, &started.secret))
        .map_err(|error| db::broken(error.to_string()))?;
    Ok(answer)
}

/// What the provider sends back.
#[derive(Debug, Default, Deserialize)]
struct Returned {
    code: Option<String>,
    #[serde(default)]
    state: String,
    error: Option<String>,
    /// Who sends it (RFC 9207).
    iss: Option<String>,
}

async fn callback(
    ctx: Data<Ctx>,
    provider: Data<Option<Provider>>,
    request: HttpRequest,
    returned: Query<Returned>,
) -> Result<HttpResponse, Problem> {
    let provider = configured(&provider)?;
    let returned = returned.into_inner();
    let secret = Brief::PROVIDER.read(&ctx, &request).unwrap_or_default();
    let next = if oidc::is_state_of(&secret, &returned.state) {
        provider::take(&ctx, &secret, db::now()).await
    } else {
        Err(Error::Unauthenticated)
    };
    let next = match next {
        Ok(next) => next,
        Err(Error::Unauthenticated) => {
            let detail = "This sign-in was not begun in this browser, was finished already, or \
                          took too long.";
            return refused(&ctx, provider, StatusCode::BAD_REQUEST, detail);
        }
        Err(error) => return Err(error.into()),
    };
    let is_ours = returned
        .iss
        .is_none_or(|issuer| Some(issuer) == provider.settings().issuer);
    let code = returned
        .code
        .filter(|_| is_ours && returned.error.is_none());
    let Some(code) = code else {
        let detail = "It has not signed you in.";
        return refused(&ctx, provider, StatusCode::UNAUTHORIZED, detail);
    };
    let identity = match provider.identity(code, &secret).await {
        Ok(identity) => identity,
        Err(trouble) => return in_trouble(&ctx, provider, &trouble),
    };
    let settings = provider.settings();
    match provider::sign_in(&ctx, settings, &identity, origin(&request), db::now()).await {
        Ok(passed) => {
            let mut answer = went_on(&ctx, passed, local(&next))?;
            answer
                .add_cookie(&Brief::PROVIDER.forgotten(&ctx))
                .map_err(|error| db::broken(error.to_string()))?;
            Ok(answer)
        }
        Err(Error::Conflict { code, message }) => {
            tracing::info!(code, subject = %identity.subject, "the identity provider's person was refused");
            let detail = format!("You are not let in: {message}.");
            refused(&ctx, provider, StatusCode::FORBIDDEN, &detail)
        }
        Err(error) => Err(error.into()),
    }
}
