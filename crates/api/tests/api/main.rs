//! The server as its clients see it: every test spawns a real one and speaks HTTP.

mod app;
mod browser;
mod json;
mod pages;
mod scene;
