//! The JSON API from outside, over HTTP.

mod accounts;
mod audit;
mod caller;
mod deployments;
pub(crate) mod factor;
mod input;
mod notifications;
mod people;
mod projects;
mod queue;
mod rights;
mod routes;
mod values;
