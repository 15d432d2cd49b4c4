//! The whole product as people run it: real processes of the built binaries, real servers, HTTP.
//!
//! What a single crate can show is shown there. Tests in `fleet` start several processes with
//! services of their own and run one at a time; `up_demo` needs nothing but the binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod audit;
mod chaos;
mod fleet;
mod keys;
mod rig;
mod up_demo;
mod user;
