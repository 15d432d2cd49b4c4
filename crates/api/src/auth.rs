//! Who is asking: a session cookie or a bearer token becomes an actor, and a browser's changes must
//! come from our own pages.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    cookie::{Cookie, SameSite},
    dev::Payload,
    http::{Method, header},
    web::Data,
};
use secrecy::{ExposeSecret as _, SecretString};
use slipway_core::{
    access::Actor,
    account::{self, sign_in::Bearer},
    ctx::Ctx,
    db,
    error::Error,
};

use crate::{error::Problem, peer::Proxies};

/// The session cookie's name without TLS.
pub const COOKIE: &str = "slipway_session";
/// The session cookie's name with TLS. Browsers accept this prefix only with `Secure`, for exactly
/// this host, so that no neighbouring site can put one in.
pub const TLS_COOKIE: &str = "__Host-slipway_session";

pub(crate) fn is_tls(ctx: &Ctx) -> bool {
    let url = ctx.settings.server.public_url.as_deref();
    url.is_some_and(|url| url.starts_with("https://"))
}

/// The session cookie's name here.
#[must_use]
pub fn cookie_name(ctx: &Ctx) -> &'static str {
    if is_tls(ctx) { TLS_COOKIE } else { COOKIE }
}

/// All that is open to somebody who has to switch a second factor on first.
const OPEN_WITHOUT_FACTOR: [(Method, &str); 9] = [
    (Method::POST, "/logout"),
    (Method::GET, "/account/second-factor"),
    (Method::POST, "/account/second-factor"),
    (Method::POST, "/account/second-factor/confirm"),
    (Method::POST, "/api/v1/auth/logout"),
    (Method::GET, "/api/v1/me"),
    (Method::GET, "/api/v1/me/second-factor"),
    (Method::POST, "/api/v1/me/second-factor"),
    (Method::POST, "/api/v1/me/second-factor/confirm"),
];

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Actor);

impl FromRequest for SignedIn {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(identify(&request).await?)) })
    }
}

/// Somebody who is signed in, or a token that may be anybody's, for those who look it up together
/// with something else.
#[derive(Clone, Debug)]
pub enum Asking {
    /// Somebody who is signed in.
    Actor(Actor),
    /// A token that nobody has looked up yet.
    Bearer(Bearer),
}

impl FromRequest for Asking {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            match bearer(&request)? {
                Some(bearer) => Ok(Self::Bearer(bearer)),
                None => Ok(Self::Actor(identify(&request).await?)),
            }
        })
    }
}

impl Asking {
    /// Who it is.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn actor(self, ctx: &Ctx) -> Result<Actor, Error> {
        match self {
            Self::Actor(actor) => Ok(actor),
            Self::Bearer(bearer) => account::sign_in::by_token(ctx, &bearer, db::now()).await,
        }
    }
}

/// The actor of a request.
///
/// # Errors
/// Nobody is signed in, or a browser was sent here by another site.
pub async fn identify(request: &HttpRequest) -> Result<Actor, Problem> {
    let ctx = request
        .app_data::<Data<Ctx>>()
        .ok_or_else(|| db::broken("the server was built without its context"))?;
    if let Some(bearer) = bearer(request)? {
        return Ok(account::sign_in::by_token(ctx, &bearer, db::now()).await?);
    }
    let mut actor = by_cookie(request, ctx).await?;
    actor.address = address(request);
    Ok(actor)
}

/// The token that a request carries.
fn bearer(request: &HttpRequest) -> Result<Option<Bearer>, Error> {
    let Some(header) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = header
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or(Error::Unauthenticated)?;
    Bearer::new(token.trim(), address(request)).map(Some)
}

async fn by_cookie(request: &HttpRequest, ctx: &Ctx) -> Result<Actor, Problem> {
    let cookie = request.cookie(cookie_name(ctx));
    let cookie = cookie.ok_or(Error::Unauthenticated)?;
    check_origin(request)?;
    let (cookie, now) = (cookie.value(), db::now());
    let (method, path) = (request.method(), request.path());
    let is_open = OPEN_WITHOUT_FACTOR
        .iter()
        .any(|(known, place)| known == method && *place == path);
    let outcome = if is_open {
        account::sign_in::by_session_to_enrol(ctx, cookie, now).await
    } else {
        account::sign_in::by_session(ctx, cookie, now).await
    };
    Ok(outcome?)
}

/// Refuses a change that a browser makes for another site's page.
///
/// Browsers say where a request
/// comes from (`Sec-Fetch-Site`, `Origin`); a client that says neither is no browser, and holds the
/// cookie because somebody gave it.
///
/// # Errors
/// The request comes from somewhere else.
pub fn check_origin(request: &HttpRequest) -> Result<(), Problem> {
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    ) {
        return Ok(());
    }
    let text = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if let Some(site) = text("Sec-Fetch-Site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(Problem::foreign_origin());
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(());
    };
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Problem::foreign_origin()),
    }
}

/// The cookie of a fresh session; it ends with the browser, and sooner on our side.
#[must_use]
pub fn cookie(ctx: &Ctx, value: &SecretString) -> Cookie<'static> {
    Cookie::build(cookie_name(ctx), value.expose_secret().to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_tls(ctx))
        .finish()
}

/// The cookie that makes a browser forget its session.
#[must_use]
pub fn no_cookie(ctx: &Ctx) -> Cookie<'static> {
    let mut cookie = Cookie::build(cookie_name(ctx), "")
        .path("/")
        .http_only(true)
        .secure(is_tls(ctx))
        .finish();
    cookie.make_removal();
    cookie
}

/// Where a request came from, for the list of sessions.
#[must_use]
pub fn origin(request: &HttpRequest) -> account::sign_in::Origin {
    let agent = request
        .headers()
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    account::sign_in::Origin {
        address: address(request),
        user_agent: agent.unwrap_or_default().chars().take(200).collect(),
    }
}

fn address(request: &HttpRequest) -> String {
    let proxies = request.app_data::<Data<Proxies>>();
    proxies
        .map(|proxies| proxies.client(request))
        .unwrap_or_default()
}
