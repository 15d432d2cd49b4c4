//! The pages: server-rendered, useful without JavaScript but for live tailing.

use actix_web::{HttpRequest, HttpResponse, web::ServiceConfig};

/// Every page.
pub fn routes(_service: &mut ServiceConfig) {}

/// The page for an address that names nothing.
pub async fn not_found(_request: &HttpRequest) -> HttpResponse {
    HttpResponse::NotFound().finish()
}
