//! The pages: server-rendered, useful without JavaScript but for live tailing.
//!
//! A handler answers `Result<HttpResponse, Problem>` as the JSON routes do; what goes wrong becomes
//! a page in one place, `trouble`.

mod ansi;
mod audit;
mod deployments;
mod frame;
mod lock;
mod moment;
mod output;
mod overview;
mod project;
mod projects;
mod queue;
mod reference;
mod row;
mod sign_in;
mod trouble;
mod visitor;

use actix_web::{
    HttpRequest, HttpResponse,
    middleware::from_fn,
    web::{self, FormConfig, ServiceConfig},
};
use slipway_core::error::Error;

use crate::{assets, error::Problem};

/// Every page. The scope has no prefix, so it takes every path that is not routed before it.
pub fn routes(service: &mut ServiceConfig) {
    let forms = FormConfig::default()
        .error_handler(|error, _| Problem::malformed(error.to_string()).into());
    let pages = web::scope("")
        .app_data(forms)
        .route("/static/{version}/{name}", web::get().to(assets::serve))
        .route("/api/docs", web::get().to(reference::show))
        .configure(sign_in::routes)
        .configure(projects::routes)
        .configure(project::routes)
        .configure(deployments::routes)
        .configure(queue::routes)
        .configure(audit::routes)
        .configure(lock::routes)
        .wrap(from_fn(trouble::as_pages));
    service.service(pages);
}

/// The page for an address that names nothing.
pub async fn not_found(request: &HttpRequest) -> HttpResponse {
    trouble::page(request, &Error::NotFound("page").into()).await
}
