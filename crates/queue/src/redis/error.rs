//! What can go wrong with Redis, and what it means to callers of the ports.

use std::path::PathBuf;

use fred::error::{Error, ErrorKind};
use slipway_core::ports::QueueError;

/// Why a connection to Redis cannot work with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server refused the account or the password.
    #[error("Redis refuses redis.username and redis.password: {0}")]
    Credentials(String),
    /// The authority file cannot be used.
    #[error("redis.ca_file {} cannot be used: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS is asked for, without an authority file, and the system trusts nobody.
    #[error("redis.tls is on, but this system has no trusted authorities: set redis.ca_file")]
    NoSystemRoots,
    /// TLS cannot be set up.
    #[error("TLS for redis cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The client library refuses the settings.
    #[error("the redis settings cannot be used: {0}")]
    Settings(#[from] Error),
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Decides whether the first attempt's error is one that waiting cannot cure.
pub(super) fn judge_first_attempt(error: &Error) -> Result<(), ConnectError> {
    if *error.kind() == ErrorKind::Auth || error.details().contains("AUTH") {
        return Err(ConnectError::Credentials(error.details().to_owned()));
    }
    tracing::warn!(%error, "Redis does not answer; connecting goes on in the background");
    Ok(())
}

/// Answers that the server gives when it is in no state to work, as opposed to ones that show a
/// mistake in a script. Inside a script they come wrapped in other text.
const REFUSALS: [&str; 10] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "NOPERM",
    "TRYAGAIN",
];

/// What a failed command means to callers of the ports.
pub(super) fn queue_error(error: &Error) -> QueueError {
    let details = error.details();
    let misunderstood = matches!(
        error.kind(),
        ErrorKind::Parse
            | ErrorKind::Protocol
            | ErrorKind::InvalidArgument
            | ErrorKind::InvalidCommand
            | ErrorKind::NotFound
    ) || details.starts_with("ERR ");
    if misunderstood && !REFUSALS.iter().any(|refusal| details.contains(refusal)) {
        QueueError::Protocol(details.to_owned())
    } else {
        QueueError::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_writes_counts_as_unavailable() {
        for details in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write",
            "MISCONF Redis is configured to save RDB snapshots",
        ] {
            let error = queue_error(&Error::new(ErrorKind::Unknown, details));
            assert!(matches!(error, QueueError::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_a_script_is_not_blamed_on_the_server() {
        for (kind, details) in [
            (
                ErrorKind::Unknown,
                "ERR Error running script: attempt to call a nil value",
            ),
            (
                ErrorKind::InvalidArgument,
                "WRONGTYPE Operation against a key",
            ),
        ] {
            let error = queue_error(&Error::new(kind, details));
            assert!(matches!(error, QueueError::Protocol(_)), "{error}");
        }
    }
}
