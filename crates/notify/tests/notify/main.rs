//! The services over real sockets: what arrives, what answers mean, and where nothing goes.
#![expect(
    clippy::expect_used,
    reason = "a test whose surroundings cannot be set up has failed, and a panic is how it says so"
)]

mod answers;
mod mail;
mod messages;
mod rig;
mod safety;
mod webhook;
