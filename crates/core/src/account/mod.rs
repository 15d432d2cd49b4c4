//! People and services that sign in: passwords, sessions and API tokens.

pub mod password;
pub mod session;
pub mod token;
