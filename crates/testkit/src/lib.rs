//! What the workspace's tests stand on: private services, throw-away databases and repositories,
//! real processes, and one way to wait.
//!
//! Only ever a development dependency. It knows no domain type, so that every crate can use it,
//! and it reports trouble the way a test does: by panicking with a sentence.
#![expect(
    clippy::expect_used,
    reason = "a test whose surroundings cannot be set up has failed, and a panic is how it says so"
)]

mod canary;
mod certs;
pub mod chaos;
mod database;
mod environment;
mod git_repo;
mod mail;
mod mariadb;
mod poll;
mod process;
pub mod provider;
mod receiver;
mod redis;
mod server;
mod services;
mod sshd;

pub use canary::{Canaries, Searched};
pub use certs::{Authority, Certificate};
pub use database::{
    MysqlAccount, TestDatabase, mysql_database, mysql_database_on, sqlite_database,
};
pub use environment::variable;
pub use git_repo::GitRepo;
pub use mail::{Mail, MailServer};
pub use mariadb::MariadbServer;
pub use poll::{eventually, eventually_blocking};
pub use process::{Program, RunningProgram, built};
pub use receiver::{Mode, Received, Receiver, SmtpServer, SmtpTls, TakenMail};
pub use redis::RedisServer;
pub use services::{RedisTls, free_port, mysql_url, redis_tls, redis_url};
pub use sshd::SshServer;
