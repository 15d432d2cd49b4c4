//! The house rules, as tests.
//!
//! Each module holds one family of rules: a function from files to findings, a test that the
//! repository has none, and tests that the rule finds what it is for. Formatting and everything
//! that clippy knows is left to them.

mod actors;
mod advisories;
mod dependencies;
mod fail_points;
mod layers;
mod leftovers;
mod licences;
mod manifests;
mod names;
mod pauses;
mod queries;
mod size;
mod source;
mod tree;
