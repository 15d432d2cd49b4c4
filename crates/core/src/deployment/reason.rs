//! Why a deployment did not succeed: a stable code for programs, a sentence for people.

/// The kinds of reason, in the order of who can mend them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A step of the pipeline exited with an error.
    StepFailed,
    /// A step ran longer than it may.
    StepTimeout,
    /// The new release did not answer as its health check expects.
    HealthCheckFailed,
    /// The repository could not be fetched.
    RepositoryUnreachable,
    /// The repository has no such branch, tag or commit.
    UnknownRef,
    /// The pipeline cannot be run as it is written.
    PipelineInvalid,
    /// The project lacks something that the pipeline needs.
    ConfigurationInvalid,
    /// A secret that the pipeline names does not exist.
    SecretMissing,
    /// A secret could not be decrypted: its row was altered, or its key is not here.
    SecretIntegrity,
    /// The target's folder cannot be used.
    TargetUnusable,
    /// The workers that ran it were lost too often.
    WorkerLost,
    /// A newer run of the target has been there since.
    StaleFence,
    /// Somebody stopped it.
    Cancelled,
    /// Somebody refused it.
    Rejected,
    /// A newer deployment took its place.
    Superseded,
    /// A fault of Slipway's own.
    Internal,
}

impl Code {
    /// The code as stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StepFailed => "step_failed",
            Self::StepTimeout => "step_timeout",
            Self::HealthCheckFailed => "health_check_failed",
            Self::RepositoryUnreachable => "repository_unreachable",
            Self::UnknownRef => "unknown_ref",
            Self::PipelineInvalid => "pipeline_invalid",
            Self::ConfigurationInvalid => "configuration_invalid",
            Self::SecretMissing => "secret_missing",
            Self::SecretIntegrity => "secret_integrity",
            Self::TargetUnusable => "target_unusable",
            Self::WorkerLost => "worker_lost",
            Self::StaleFence => "stale_fence",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Internal => "internal",
        }
    }

    /// Whether another attempt may end differently without anybody changing anything.
    #[must_use]
    pub fn may_retry(self) -> bool {
        match self {
            Self::StepFailed
            | Self::StepTimeout
            | Self::HealthCheckFailed
            | Self::RepositoryUnreachable
            | Self::TargetUnusable
            | Self::Internal => true,
            Self::UnknownRef
            | Self::PipelineInvalid
            | Self::ConfigurationInvalid
            | Self::SecretMissing
            | Self::SecretIntegrity
            | Self::WorkerLost
            | Self::StaleFence
            | Self::Cancelled
            | Self::Rejected
            | Self::Superseded => false,
        }
    }
}

/// A reason as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which kind.
    pub code: Code,
    /// What happened and what to do about it, at most 1000 characters.
    pub text: String,
}

impl Reason {
    /// A reason; a text that is too long is cut.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = if text.chars().count() > 1000 {
            text.chars().take(999).chain(['…']).collect()
        } else {
            text
        };
        Self { code, text }
    }
}
