//! The second step of signing in, and one's own second factor.
//!
//! What proves the first step lies in a cookie of its own, so that the second is done by the same
//! browser.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Query},
};
use askama::Template;
use secrecy::SecretString;
use serde::Deserialize;
use slipway_core::{account::second_step, ctx::Ctx, db};

use super::{
    frame::{Frame, html, see_other},
    sign_in::{encoded, local},
    table::Pages,
};
use crate::{
    auth::{check_origin, cookie, origin},
    cookie::Brief,
    error::Problem,
};

pub(super) fn routes(pages: &mut Pages<'_>) {
    pages.get("/login/code", form).post("/login/code", send);
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage<'a> {
    frame: Frame,
    next: &'a str,
    /// The same as the value of a query parameter.
    next_encoded: String,
    is_recovery: bool,
    error: Option<&'a str>,
}

impl<'a> CodePage<'a> {
    fn new(next: &'a str, is_recovery: bool, error: Option<&'a str>) -> Self {
        Self {
            frame: Frame::public(),
            next,
            next_encoded: encoded(next),
            is_recovery,
            error,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    next: String,
    recovery: Option<String>,
}

async fn form(
    ctx: Data<Ctx>,
    request: HttpRequest,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let next = local(&wanted.next);
    if Brief::SECOND_STEP.read(&ctx, &request).is_none() {
        return Ok(see_other(format!("/login?next={}", encoded(next))));
    }
    let page = CodePage::new(next, wanted.recovery.is_some(), None);
    html(HttpResponse::Ok(), &page)
}

#[derive(Debug, Deserialize)]
struct Code {
    code: SecretString,
    #[serde(default)]
    next: String,
    /// Which of the two forms it was.
    #[serde(default)]
    recovery: String,
}

async fn send(
    ctx: Data<Ctx>,
    request: HttpRequest,
    Form(sent): Form<Code>,
) -> Result<HttpResponse, Problem> {
    check_origin(&request)?;
    let next = local(&sent.next);
    let token = Brief::SECOND_STEP.read(&ctx, &request).unwrap_or_default();
    let finished = second_step::finish(&ctx, &token, &sent.code, origin(&request), db::now()).await;
    let problem = match finished {
        Ok(signed_in) => {
            let mut answer = see_other(next);
            for cookie in [
                cookie(&ctx, &signed_in.cookie),
                Brief::SECOND_STEP.forgotten(&ctx),
            ] {
                answer
                    .add_cookie(&cookie)
                    .map_err(|error| db::broken(error.to_string()))?;
            }
            return Ok(answer);
        }
        Err(error) => Problem::from(error),
    };
    if problem.status() == StatusCode::UNAUTHORIZED {
        // Too late, or tried too often: from the beginning.
        let place = format!("/login?next={}&again=1", encoded(next));
        let mut answer = see_other(place);
        answer
            .add_cookie(&Brief::SECOND_STEP.forgotten(&ctx))
            .map_err(|error| db::broken(error.to_string()))?;
        return Ok(answer);
    }
    let error = match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY => "That code is wrong, or was used already.",
        StatusCode::TOO_MANY_REQUESTS => problem.detail(),
        _ => return Err(problem),
    };
    let page = CodePage::new(next, !sent.recovery.is_empty(), Some(error));
    html(problem.builder(), &page)
}
