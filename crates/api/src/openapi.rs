//! The description of the API, gathered from the handlers while they are registered.

use actix_web::{HttpResponse, web::Data};
use utoipa::openapi::{
    InfoBuilder, License, OpenApi,
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

use crate::auth::COOKIE;

/// The document as it is served.
#[derive(Clone, Debug)]
pub struct Document(pub String);

/// Adds what the handlers cannot know, and writes the document.
///
/// # Errors
/// When the document cannot be written as JSON.
pub fn document(mut api: OpenApi) -> serde_json::Result<Document> {
    api.info = InfoBuilder::new()
        .title("Slipway")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Deployments, and everything they need. Errors are application/problem+json with a \
             stable `code`.",
        ))
        .license(Some(License::new("MIT")))
        .build();
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let cookie = ApiKey::Cookie(ApiKeyValue::new(COOKIE));
    components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    let no_scopes: [&str; 0] = [];
    api.security = Some(vec![
        SecurityRequirement::new("token", no_scopes),
        SecurityRequirement::new("session", no_scopes),
    ]);
    Ok(Document(api.to_json()?))
}

/// The document.
pub async fn serve(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document.0.clone())
}
