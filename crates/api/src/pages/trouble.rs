//! Pages for what goes wrong: signed out, not allowed, not there, broken.

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode},
    middleware::Next,
};
use askama::Template;

use super::{
    factor,
    frame::{Frame, Section, html, see_other},
    sign_in,
    visitor::Visitor,
};
use crate::error::Problem;

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    frame: Frame,
    status: u16,
    title: &'static str,
    detail: &'a str,
}

/// Turns the problems of page handlers into pages; the API's stay as they are.
pub(super) async fn as_pages(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = next.call(request).await?;
    let (request, response) = answer.into_parts();
    let problem = response
        .error()
        .and_then(|error| error.as_error::<Problem>());
    let response = match problem {
        Some(problem) if !is_api(request.path()) => page(&request, problem).await,
        _ => response.map_into_boxed_body(),
    };
    Ok(ServiceResponse::new(request, response))
}

fn is_api(path: &str) -> bool {
    (path.starts_with("/api/") && path != "/api/docs") || path.starts_with("/health/")
}

/// The page about a problem, or the way to the sign-in form when that is what is missing.
pub(super) async fn page(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    if problem.status() == StatusCode::UNAUTHORIZED {
        return to_sign_in(request);
    }
    if problem.is_about_factor() {
        return see_other(factor::HOME);
    }
    let known = request.extensions().get::<Visitor>().cloned();
    let visitor = match known {
        Some(visitor) => Some(visitor),
        None => Visitor::identify(request).await.ok(),
    };
    let page = TroublePage {
        frame: visitor.map_or_else(Frame::public, |it| Frame::of(&it, Section::Elsewhere)),
        status: problem.status().as_u16(),
        title: title(problem.status()),
        detail: problem.detail(),
    };
    html(problem.builder(), &page).unwrap_or_else(|_| problem.builder().finish())
}

/// Only an address that can be opened is worth coming back to.
fn to_sign_in(request: &HttpRequest) -> HttpResponse {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", actix_web::http::uri::PathAndQuery::as_str);
    if request.method() == Method::GET && target != "/" {
        see_other(format!("/login?next={}", sign_in::encoded(target)))
    } else {
        see_other("/login")
    }
}

/// The heading for a status.
pub(super) fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::NOT_FOUND => "Nothing here",
        StatusCode::CONFLICT => "Not possible right now",
        StatusCode::UNPROCESSABLE_ENTITY => "Something in the form is not right",
        StatusCode::TOO_MANY_REQUESTS => "Too much is waiting",
        StatusCode::SERVICE_UNAVAILABLE => "Deployments are paused",
        status if status.is_server_error() => "Something went wrong",
        _ => "That did not work",
    }
}
