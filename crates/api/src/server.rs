//! The HTTP server: the table of routes, and what surrounds them all.

use std::net::TcpListener;

use actix_web::{
    App, Error as ActixError, HttpRequest, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::{Compress, DefaultHeaders},
    web::{self, Data, PathConfig, QueryConfig},
};
use slipway_core::{ctx::Ctx, error::Error, vault::load::session_secret};
use tokio_util::sync::CancellationToken;
use tracing_actix_web::TracingLogger;
use utoipa_actix_web::{AppExt as _, scope, service_config::ServiceConfig};

use crate::{
    error::Problem, json, mail::Mailer, metrics, oidc::Provider, openapi, pages, peer::Proxies,
    seal::Seal, tail::Tails,
};

/// Seconds that requests under way get when the server stops.
const SHUTDOWN_SECONDS: u64 = 10;
/// Scripts and styles only from ourselves and none inline; nobody may frame us.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                              img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                              base-uri 'none'; frame-ancestors 'none'";

/// What every handler may ask for.
#[derive(Clone, Debug)]
pub struct State {
    ctx: Data<Ctx>,
    seal: Data<Seal>,
    tails: Data<Tails>,
    proxies: Data<Proxies>,
    mailer: Data<Option<Mailer>>,
    provider: Data<Option<Provider>>,
}

impl State {
    /// Gathers what handlers need. `stop` ends the live streams.
    ///
    /// # Errors
    /// When the session secret is missing or weak, a trusted proxy is no address, or mail is
    /// configured wrongly.
    pub fn new(ctx: Ctx, stop: CancellationToken) -> anyhow::Result<Self> {
        let secret = session_secret(&ctx.settings.security)?;
        let base = ctx.settings.server.public_url.as_deref();
        let provider = ctx.settings.oidc.as_ref();
        let provider = provider.map(|oidc| Provider::new(oidc, base.unwrap_or_default()));
        Ok(Self {
            seal: Data::new(Seal::new(&secret)?),
            tails: Data::new(Tails::new(ctx.clone(), stop)),
            proxies: Data::new(Proxies::new(&ctx.settings.server.trusted_proxies)?),
            mailer: Data::new(ctx.settings.smtp.as_ref().map(Mailer::new).transpose()?),
            provider: Data::new(provider.transpose()?),
            ctx: Data::new(ctx),
        })
    }
}

impl State {
    /// The state for one of so many threads that serve.
    fn apart(&self, threads: usize) -> Self {
        Self {
            ctx: Data::new(self.ctx.apart(threads)),
            ..self.clone()
        }
    }
}

/// Builds the server on a listener that is bound already, so that a port of 0 can be asked for.
///
/// # Errors
/// When the listener cannot be used or the API cannot be described.
pub fn build(state: State, listener: TcpListener) -> anyhow::Result<Server> {
    let document = Data::new(describe()?);
    let threads = workers();
    let server = HttpServer::new(move || app(&state.apart(threads), &document))
        .workers(threads)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

/// Requests that come together share trips to the database, so more threads make more of them; the
/// database and the workers need processors too.
fn workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    (processors / 2).clamp(1, 8)
}

/// The description of every route, gathered from the handlers.
///
/// # Errors
/// When it cannot be written.
pub fn describe() -> serde_json::Result<openapi::Document> {
    let (_, api) = App::new()
        .into_utoipa_app()
        .configure(described)
        .split_for_parts();
    openapi::document(api)
}

/// Method and path of every route, for tests that go through all of them.
///
/// # Errors
/// When the API cannot be described.
pub fn routes() -> serde_json::Result<Vec<(String, String)>> {
    let document: serde_json::Value = serde_json::from_str(&describe()?.0)?;
    let paths = document.get("paths").and_then(serde_json::Value::as_object);
    let mut routes = vec![("GET".to_owned(), "/api/openapi.json".to_owned())];
    for (path, methods) in paths.into_iter().flatten() {
        let methods = methods.as_object().into_iter().flatten();
        routes.extend(methods.map(|(method, _)| (method.to_uppercase(), path.clone())));
    }
    let mut pages = Vec::new();
    App::new().configure(|service| pages = pages::register(service));
    let pages = pages.into_iter();
    routes.extend(pages.map(|(method, path)| (method.to_owned(), path.to_owned())));
    Ok(routes)
}

/// The routes that the document describes.
fn described(service: &mut ServiceConfig<'_>) {
    service
        .service(scope("/api/v1").configure(json::routes))
        .configure(json::health::routes)
        .configure(metrics::routes);
}

fn app(
    state: &State,
    document: &Data<openapi::Document>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = ActixError,
        InitError = (),
    > + use<>,
> {
    let (app, _) = App::new()
        .into_utoipa_app()
        .configure(described)
        .split_for_parts();
    app.app_data(state.ctx.clone())
        .app_data(state.seal.clone())
        .app_data(state.tails.clone())
        .app_data(state.proxies.clone())
        .app_data(state.mailer.clone())
        .app_data(state.provider.clone())
        .app_data(Data::clone(document))
        .app_data(PathConfig::default().error_handler(no_such_path))
        .app_data(QueryConfig::default().error_handler(wrong_query))
        .route("/api/openapi.json", web::get().to(openapi::serve))
        .configure(pages::routes)
        .default_service(web::to(not_found))
        .wrap(Compress::default())
        .wrap(
            DefaultHeaders::new()
                .add(("X-Content-Type-Options", "nosniff"))
                .add(("Referrer-Policy", "same-origin"))
                .add(("Cache-Control", "no-store"))
                .add(("Content-Security-Policy", CONTENT_POLICY)),
        )
        .wrap(TracingLogger::default())
}

/// An id that is no number names nothing.
fn no_such_path(_: actix_web::error::PathError, _: &HttpRequest) -> ActixError {
    Problem::from(Error::NotFound("thing")).into()
}

#[expect(clippy::needless_pass_by_value, reason = "actix hands the error over")]
fn wrong_query(error: actix_web::error::QueryPayloadError, _: &HttpRequest) -> ActixError {
    Problem::from(Error::invalid("query", error.to_string())).into()
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, Problem> {
    if request.path().starts_with("/api/") || request.path().starts_with("/health/") {
        return Err(Error::NotFound("route").into());
    }
    Ok(pages::not_found(&request).await)
}
