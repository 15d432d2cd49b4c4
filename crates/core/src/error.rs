//! What can go wrong in a use case, in the terms of its caller.
//!
//! Expected failures are variants; everything else is `Internal`, keeps its chain, and is shown to
//! nobody but the log.

use std::{fmt, sync::Arc};

use crate::{access::Permission, account::password::PasswordError, ports::QueueError};

/// One field that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where it is in the input, such as `targets[0].slug`.
    pub field: String,
    /// What was expected.
    pub message: String,
}

impl FieldError {
    /// Names a field and what was expected of it.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// The result of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is signed in, or the credential is not valid (any more).
    #[error("sign in first")]
    Unauthenticated,
    /// There is no such thing, or the actor may not know that there is.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The actor may see the thing and not do this with it.
    #[error("your role does not allow this ({0})")]
    Forbidden(Permission),
    /// The token that was sent is restricted to other things.
    #[error("this token may not do this; its scopes or projects leave it out")]
    TokenLimited,
    /// The account needs a second factor and has none.
    #[error("switch on a second factor first; this installation asks for one")]
    FactorRequired,
    /// Too many attempts; the next one is looked at in this many seconds.
    #[error("too many attempts; try again in {0} s")]
    Throttled(u64),
    /// The thing is not in a state that allows this.
    #[error("{message}")]
    Conflict {
        /// Stable name of the case.
        code: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// The input is not acceptable.
    #[error("{}", Joined(.0))]
    Invalid(Vec<FieldError>),
    /// As many deployments wait as may.
    #[error("as many deployments wait as may: {depth} of {limit}")]
    QueueFull {
        /// The configured limit.
        limit: u32,
        /// How many wait.
        depth: u64,
    },
    /// New work cannot be taken because the queue is unhealthy.
    #[error("the queue is unavailable; try again in a few seconds")]
    QueueUnavailable,
    /// Too many costly requests of this kind are under way.
    #[error("too many requests of this kind are under way; try again in a few seconds")]
    Busy,
    /// A fault on our side.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

struct Joined<'a>(&'a [FieldError]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

impl Error {
    /// One field that was not accepted.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// A state that does not allow the request.
    #[must_use]
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            message: message.into(),
        }
    }

    /// Whether the database asked for the whole transaction to be tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.database().is_some_and(crate::db::is_transient)
    }

    /// Whether the database could not be reached, or was lost on the way.
    #[must_use]
    pub fn is_database_away(&self) -> bool {
        self.database().is_some_and(crate::db::is_away)
    }

    /// What the database said, if it was the database.
    pub(crate) fn database(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::Internal(source) => match source.downcast_ref::<Shared>() {
                Some(Shared(error)) => error.database(),
                None => source.downcast_ref(),
            },
            Self::Unauthenticated
            | Self::NotFound(_)
            | Self::Forbidden(_)
            | Self::TokenLimited
            | Self::FactorRequired
            | Self::Throttled(_)
            | Self::Conflict { .. }
            | Self::Invalid(_)
            | Self::QueueFull { .. }
            | Self::QueueUnavailable
            | Self::Busy => None,
        }
    }
}

/// One failure that befell several who had asked together.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<Error>);

impl From<Arc<Error>> for Error {
    fn from(source: Arc<Error>) -> Self {
        Self::Internal(anyhow::Error::new(Shared(source)))
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(source: sea_orm::DbErr) -> Self {
        Self::Internal(source.into())
    }
}

impl From<getrandom::Error> for Error {
    fn from(source: getrandom::Error) -> Self {
        Self::Internal(anyhow::Error::new(source).context("drawing random bytes"))
    }
}

impl From<serde_json::Error> for Error {
    fn from(source: serde_json::Error) -> Self {
        Self::Internal(anyhow::Error::new(source).context("reading or writing JSON"))
    }
}

impl From<PasswordError> for Error {
    fn from(source: PasswordError) -> Self {
        match source {
            PasswordError::TooBusy => Self::Busy,
            PasswordError::Hash(_) | PasswordError::Interrupted => Self::Internal(source.into()),
        }
    }
}

impl From<QueueError> for Error {
    fn from(source: QueueError) -> Self {
        match source {
            QueueError::Unavailable(_) | QueueError::Lost => Self::QueueUnavailable,
            QueueError::Protocol(_) => Self::Internal(source.into()),
        }
    }
}
