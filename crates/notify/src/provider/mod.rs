//! One file for each service. None of them knows another one.

mod webhook;

pub use webhook::Webhook;
