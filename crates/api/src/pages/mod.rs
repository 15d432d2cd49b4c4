//! The pages: server-rendered, useful without JavaScript but for live tailing.
//!
//! A handler answers `Result<HttpResponse, Problem>` as the JSON routes do; what goes wrong becomes
//! a page in one place, `trouble`.

mod account;
mod ansi;
mod audit;
mod code;
mod deployments;
mod factor;
mod frame;
mod lock;
mod moment;
mod notify;
mod output;
mod overview;
mod password;
mod project;
mod projects;
mod provider;
mod queue;
mod reference;
mod row;
mod sign_in;
mod ssh;
mod table;
mod trouble;
mod users;
mod visitor;

use actix_web::{
    HttpRequest, HttpResponse,
    middleware::from_fn,
    web::{self, FormConfig, ServiceConfig},
};
use slipway_core::error::Error;
use table::Pages;

use crate::{assets, error::Problem};

/// Every page. The scope has no prefix, so it takes every path that is not routed before it.
pub fn routes(service: &mut ServiceConfig) {
    let forms = FormConfig::default()
        .error_handler(|error, _| Problem::malformed(error.to_string()).into());
    let pages = web::scope("")
        .app_data(forms)
        .configure(|service| {
            register(service);
        })
        .wrap(from_fn(trouble::as_pages));
    service.service(pages);
}

/// Registers every page, and answers the list of them.
pub(crate) fn register(service: &mut ServiceConfig) -> Vec<(&'static str, &'static str)> {
    let mut pages = Pages::new(service);
    pages
        .get("/static/{version}/{name}", assets::serve)
        .get("/api/docs", reference::show);
    sign_in::routes(&mut pages);
    code::routes(&mut pages);
    provider::routes(&mut pages);
    projects::routes(&mut pages);
    project::routes(&mut pages);
    deployments::routes(&mut pages);
    queue::routes(&mut pages);
    audit::routes(&mut pages);
    lock::routes(&mut pages);
    ssh::routes(&mut pages);
    notify::routes(&mut pages);
    account::routes(&mut pages);
    factor::routes(&mut pages);
    users::routes(&mut pages);
    password::routes(&mut pages);
    pages.listed()
}

/// The page for an address that names nothing.
pub async fn not_found(request: &HttpRequest) -> HttpResponse {
    trouble::page(request, &Error::NotFound("page").into()).await
}
