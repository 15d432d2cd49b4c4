//! Accounts: who signs in, and how they prove who they are.

pub mod console;
pub mod entity;
pub mod factor;
pub mod first_admin;
pub mod kind;
pub mod password;
pub mod provider;
pub mod second_step;
pub mod service;
pub mod session;
pub mod sign_in;
pub mod standing;
pub mod store;
pub mod throttle;
pub mod token;
