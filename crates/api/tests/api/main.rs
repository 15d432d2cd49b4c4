//! The server as its clients see it: every test spawns a real one and speaks HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod app;
mod browser;
mod json;
mod log;
mod matrix;
mod oidc;
mod pages;
mod scene;
