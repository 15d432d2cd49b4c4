//! Signing in and out by form.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Query},
};
use askama::Template;
use secrecy::SecretString;
use serde::Deserialize;
use slipway_core::{
    account::{self, sign_in::Passed},
    ctx::Ctx,
    db,
    settings::LocalSignIn,
};

use super::{
    frame::{Frame, html, see_other},
    table::Pages,
    visitor::{Button, Sent, Visitor},
};
use crate::{
    auth::{check_origin, cookie, no_cookie, origin},
    cookie::Brief,
    error::Problem,
    oidc,
};

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages
        .get("/login", form)
        .post("/login", sign_in)
        .post("/logout", sign_out);
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: Frame,
    email: &'a str,
    next: &'a str,
    error: Option<&'a str>,
    provider: Option<Offered>,
}

impl<'a> SignInPage<'a> {
    fn new(ctx: &Ctx, (email, next): (&'a str, &'a str), error: Option<&'a str>) -> Self {
        Self {
            frame: Frame::public(),
            email,
            next,
            error,
            provider: ctx.settings.oidc.as_ref().map(|settings| Offered {
                name: settings.name.clone(),
                place: format!("{}?next={}", oidc::START, encoded(next)),
                is_for_all: settings.local_sign_in == LocalSignIn::AdminsOnly,
            }),
        }
    }
}

/// The identity provider, as the page offers it.
struct Offered {
    name: String,
    place: String,
    /// Whether passwords are for Admins only.
    is_for_all: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    next: String,
    /// The second step took too long, or too many tries.
    again: Option<String>,
}

async fn form(
    ctx: Data<Ctx>,
    request: HttpRequest,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let (next, again) = (local(&wanted.next), wanted.again.is_some());
    if Visitor::identify(&request).await.is_ok() {
        return Ok(see_other(next));
    }
    let error = again.then_some("That took too long, or too many tries. Sign in again.");
    let page = SignInPage::new(&ctx, ("", next), error);
    html(HttpResponse::Ok(), &page)
}

#[derive(Debug, Deserialize)]
struct Login {
    email: String,
    password: SecretString,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    ctx: Data<Ctx>,
    request: HttpRequest,
    Form(login): Form<Login>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let Login {
        email,
        password,
        next,
    } = login;
    let next = local(&next);
    let origin = origin(&request);
    let outcome = account::sign_in::sign_in(&ctx, &email, password, origin, db::now()).await;
    let problem = match outcome {
        Ok(passed) => return went_on(&ctx, passed, next),
        Err(error) => Problem::from(error),
    };
    let error = match problem.status() {
        StatusCode::UNAUTHORIZED => "E-mail or password is wrong.",
        StatusCode::TOO_MANY_REQUESTS => problem.detail(),
        _ => return Err(problem),
    };
    let page = SignInPage::new(&ctx, (&email, next), Some(error));
    html(problem.builder(), &page)
}

/// Where somebody goes who was right about the first step.
pub(super) fn went_on(ctx: &Ctx, passed: Passed, next: &str) -> Result<HttpResponse, Problem> {
    let (place, cookie) = match passed {
        Passed::SignedIn(signed_in) => (next.to_owned(), cookie(ctx, &signed_in.cookie)),
        Passed::NeedsFactor(challenge) => (
            format!("/login/code?next={}", encoded(next)),
            Brief::SECOND_STEP.holding(ctx, &challenge.token),
        ),
    };
    let mut answer = see_other(place);
    answer
        .add_cookie(&cookie)
        .map_err(|error| db::broken(error.to_string()))?;
    Ok(answer)
}

async fn sign_out(ctx: Data<Ctx>, sent: Sent<Button>) -> Result<HttpResponse, Problem> {
    account::service::sign_out(&ctx, &sent.visitor.actor).await?;
    let mut answer = see_other("/login");
    answer
        .add_cookie(&no_cookie(&ctx))
        .map_err(|error| db::broken(error.to_string()))?;
    Ok(answer)
}

/// The address, if it is one of our own paths; the front page otherwise. Browsers read `//` and
/// `/\` as the beginning of another site's address, and skip control characters while they do.
pub(super) fn local(next: &str) -> &str {
    let mut bytes = next.bytes();
    let is_path = bytes.next() == Some(b'/') && bytes.next() != Some(b'/');
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_path && is_plain && next.len() <= 2000 {
        next
    } else {
        "/"
    }
}

/// A path as the value of a query parameter.
pub(super) fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_paths_are_followed_after_sign_in() {
        for own in [
            "/",
            "/projects/web",
            "/deployments?status=failed&cursor=1-a",
        ] {
            assert_eq!(local(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " /x",
            "/a\\b",
            "javascript:alert(1)",
            "/é",
        ] {
            assert_eq!(local(other), "/", "{other:?}");
        }
    }

    #[test]
    fn a_path_with_a_query_survives_as_a_parameter() {
        assert_eq!(
            encoded("/deployments?status=failed&a=ü"),
            "/deployments%3Fstatus%3Dfailed%26a%3D%C3%BC"
        );
    }
}
