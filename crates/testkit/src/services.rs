//! Where the services of this test run are.
//!
//! `deploy/test.sh` starts them and says so through the environment; nothing here starts anything.

use std::{net::TcpListener, path::PathBuf};

use crate::environment::variable;

/// A Redis that speaks TLS only.
#[derive(Clone, Debug)]
pub struct RedisTls {
    /// `rediss://` address with the password.
    pub url: String,
    /// PEM file of the authority that signed the server's certificate.
    pub ca_file: PathBuf,
}

/// The database server, with an account that may create databases.
///
/// # Panics
/// When the tests were not started by `deploy/test.sh`.
#[must_use]
pub fn mysql_url() -> String {
    required("SLIPWAY_TEST_MYSQL_URL")
}

/// The shared Redis. Tests keep apart by key prefix; one that wipes or stops the server starts its
/// own [`RedisServer`](crate::RedisServer).
///
/// # Panics
/// When the tests were not started by `deploy/test.sh`.
#[must_use]
pub fn redis_url() -> String {
    required("SLIPWAY_TEST_REDIS_URL")
}

/// The Redis that asks for TLS and a password.
///
/// # Panics
/// When the tests were not started by `deploy/test.sh`.
#[must_use]
pub fn redis_tls() -> RedisTls {
    RedisTls {
        url: required("SLIPWAY_TEST_REDIS_TLS_URL"),
        ca_file: PathBuf::from(required("SLIPWAY_TEST_REDIS_CA")),
    }
}

/// A loopback port that nothing listens on at this moment.
///
/// Another process may take it before the caller does, so whoever uses it must be able to try again.
///
/// # Panics
/// When loopback has no free port.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

fn required(name: &str) -> String {
    variable(name).unwrap_or_else(|| {
        panic!(
            "{name} is not set: run the tests with deploy/test.sh, or keep its services up with \
             `deploy/test.sh --services` and export what it prints"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_port_can_be_listened_on() {
        let port = free_port();
        TcpListener::bind(("127.0.0.1", port)).expect("nobody else took it");
    }

    #[test]
    fn missing_service_says_which_command_starts_it() {
        let panic = std::panic::catch_unwind(|| required("SLIPWAY_TEST_NO_SUCH_SERVICE"))
            .expect_err("the variable does not exist");
        let message = panic
            .downcast_ref::<String>()
            .expect("the panic carries a sentence");
        assert!(
            message.contains("SLIPWAY_TEST_NO_SUCH_SERVICE"),
            "{message}"
        );
        assert!(message.contains("deploy/test.sh"), "{message}");
    }
}
