//! The JSON API, one file a noun; what a route takes and answers stands beside its handler.

pub mod audit;
pub mod auth;
pub mod channels;
pub mod deliveries;
pub mod deployments;
pub mod factor;
pub mod health;
pub mod locks;
pub mod log;
pub mod me;
pub mod members;
pub mod pipeline;
pub mod projects;
pub mod providers;
pub mod queue;
pub mod secrets;
pub mod ssh;
pub mod subscriptions;
pub mod targets;
pub mod users;
pub mod variables;

use utoipa_actix_web::service_config::ServiceConfig;

/// Every route below `/api/v1`.
pub fn routes(service: &mut ServiceConfig<'_>) {
    service
        // Routes are tried in order: the ones that machines use most come first.
        .configure(deployments::routes)
        .configure(audit::routes)
        .configure(auth::routes)
        .configure(me::routes)
        .configure(factor::routes)
        .configure(users::routes)
        .configure(projects::routes)
        .configure(members::routes)
        .configure(pipeline::routes)
        .configure(targets::routes)
        .configure(variables::routes)
        .configure(secrets::routes)
        .configure(ssh::routes)
        .configure(log::routes)
        .configure(locks::routes)
        .configure(queue::routes)
        .configure(providers::routes)
        .configure(channels::routes)
        .configure(subscriptions::routes)
        .configure(deliveries::routes);
}
