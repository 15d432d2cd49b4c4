//! The HTTP side of Slipway: the JSON API, the event streams and the pages.
//!
//! The only crate that knows actix-web, status codes and HTML. Handlers parse, call one use case of
//! core, and render; they hold no rules of their own.

pub mod assets;
pub mod auth;
pub mod cookie;
pub mod error;
pub mod extract;
pub mod json;
pub mod mail;
pub mod metrics;
pub mod oidc;
pub mod openapi;
pub mod pages;
pub mod peer;
pub mod run;
pub mod seal;
pub mod server;
pub mod sse;
pub mod tail;
pub mod watch;
