//! One line of a deployment's output.

use serde::Serialize;

use crate::id::StepId;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A command: its output and its errors, in the order in which it wrote them.
    Output,
    /// Slipway itself.
    Slipway,
}

impl Source {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Output => 'o',
            Self::Slipway => 's',
        }
    }

    pub(crate) fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'o' => Some(Self::Output),
            's' => Some(Self::Slipway),
            _ => None,
        }
    }

    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Slipway => "slipway",
        }
    }
}

/// One line of output. Its number rises by one from line to line over the whole deployment, its
/// repeated runs included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its place in the log, from 1.
    pub number: i64,
    /// The step that wrote it; none for the run itself.
    pub step: Option<StepId>,
    /// Where it came from.
    pub source: Source,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The text, already redacted.
    pub text: String,
}
