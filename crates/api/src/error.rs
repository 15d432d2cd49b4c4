//! From core's errors to HTTP: the one place that decides a status.

use std::fmt;

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::StatusCode};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use slipway_core::{
    account::second_step::Challenge,
    error::{Error, FieldError},
};

/// Seconds after which a client may try again while the queue is away.
const RETRY_UNAVAILABLE: u32 = 5;
/// Seconds after which a client may try again when too much is under way.
const RETRY_BUSY: u32 = 2;

/// An error of a JSON route, as `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    limits: Option<Limits>,
    challenge: Option<Box<Pending>>,
    retry_after: Option<u32>,
}

/// What a sign-in is continued with.
#[derive(Debug)]
struct Pending {
    challenge: SecretString,
    expires_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Limits {
    limit: u32,
    depth: u64,
}

/// The body of an error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// Always `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A stable name of the problem.
    code: &'static str,
    /// A sentence about this case.
    detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    /// The limit that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u64>,
    /// What `POST /auth/second-factor` takes, with `second_factor_needed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    /// Until when it takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
}

/// What is wrong with one field.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// Where it is in the input.
    field: String,
    /// What was expected.
    message: String,
}

impl Problem {
    /// A problem with the request itself, before any use case.
    #[must_use]
    pub fn request(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            limits: None,
            challenge: None,
            retry_after: None,
        }
    }

    /// The password was right, and the second factor is asked for next.
    #[must_use]
    pub fn second_factor_needed(challenge: Challenge) -> Self {
        let detail = "the password is right; send a code of the second factor with the challenge";
        let status = StatusCode::UNAUTHORIZED;
        Self {
            challenge: Some(Box::new(Pending {
                challenge: challenge.token,
                expires_at: challenge.expires_at,
            })),
            ..Self::request(status, "second_factor_needed", detail)
        }
    }

    /// Whether a second factor has to be switched on first.
    #[must_use]
    pub fn is_about_factor(&self) -> bool {
        self.code == "second_factor_required"
    }

    /// The body had the wrong shape.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::request(StatusCode::BAD_REQUEST, "malformed_body", detail)
    }

    /// The request came from another site's page.
    #[must_use]
    pub fn foreign_origin() -> Self {
        let detail = "a browser may change things only from Slipway's own pages";
        Self::request(StatusCode::FORBIDDEN, "foreign_origin", detail)
    }

    /// The sentence about this case.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether it is about what somebody typed, so that the form is shown again.
    #[must_use]
    pub fn is_about_input(&self) -> bool {
        matches!(
            self.status,
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::TOO_MANY_REQUESTS
        )
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// An answer with this problem's status and headers, for a body of another kind.
    #[must_use]
    pub fn builder(&self) -> HttpResponseBuilder {
        let mut builder = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            builder.insert_header(("Retry-After", seconds.to_string()));
        }
        builder
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let plain = |status, code| Self::request(status, code, detail.clone());
        match error {
            Error::Unauthenticated => plain(StatusCode::UNAUTHORIZED, "unauthenticated"),
            Error::NotFound(_) => plain(StatusCode::NOT_FOUND, "not_found"),
            Error::Forbidden(_) => plain(StatusCode::FORBIDDEN, "forbidden"),
            Error::FactorRequired => plain(StatusCode::FORBIDDEN, "second_factor_required"),
            Error::TokenLimited => plain(StatusCode::FORBIDDEN, "token_limited"),
            Error::Throttled(seconds) => Self {
                retry_after: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
                ..plain(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts")
            },
            Error::Conflict { code, .. } => plain(StatusCode::CONFLICT, code),
            Error::Invalid(errors) => {
                let problem = plain(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
                Self { errors, ..problem }
            }
            Error::QueueFull { limit, depth } => Self {
                limits: Some(Limits { limit, depth }),
                retry_after: Some(RETRY_UNAVAILABLE),
                ..plain(StatusCode::TOO_MANY_REQUESTS, "queue_full")
            },
            Error::QueueUnavailable => Self {
                retry_after: Some(RETRY_UNAVAILABLE),
                ..plain(StatusCode::SERVICE_UNAVAILABLE, "queue_unavailable")
            },
            Error::Busy => Self {
                retry_after: Some(RETRY_BUSY),
                ..plain(StatusCode::TOO_MANY_REQUESTS, "busy")
            },
            Error::Internal(source) => {
                tracing::error!(error = ?source, "a request failed");
                let detail = "something went wrong on our side; the server's log says what";
                Self::request(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let (fields, pending) = (self.errors.iter(), self.challenge.as_ref());
        self.builder()
            .content_type("application/problem+json")
            .json(ProblemBody {
                kind: "about:blank",
                title: self.status.canonical_reason().unwrap_or("Error"),
                status: self.status.as_u16(),
                code: self.code,
                detail: self.detail.clone(),
                errors: fields
                    .map(|error| FieldProblem {
                        field: error.field.clone(),
                        message: error.message.clone(),
                    })
                    .collect(),
                limit: self.limits.map(|limits| limits.limit),
                depth: self.limits.map(|limits| limits.depth),
                challenge: pending.map(|pending| pending.challenge.expose_secret().to_owned()),
                expires_at: pending.map(|pending| pending.expires_at),
            })
    }
}
