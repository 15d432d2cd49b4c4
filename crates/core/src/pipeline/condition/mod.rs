//! The `when` of a step: a small pure expression over what started the deployment.
//!
//! `branch == "main" && (target != 'prod' || changed("src/**")) && !(trigger == "manual")`.
//! Everything that can be wrong is found when it is read; the one thing that can go wrong later
//! is that nobody knows the changed files.

mod expression;
pub(crate) mod glob;
mod parser;
mod token;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use self::expression::Expression;

/// A condition that was read and found right; it prints as text that reads back to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(Expression);

/// What conditions are about.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The ref that was asked for, such as a branch, a tag or a commit.
    pub ref_name: &'a str,
    /// The branch; missing when the ref is none. It then equals only the empty text and matches
    /// no glob.
    pub branch: Option<&'a str>,
    /// The target's slug.
    pub target: &'a str,
    /// What started the deployment.
    pub trigger: &'a str,
    /// Paths that differ from the commit that is live; missing when that is not known.
    pub changed: Option<&'a [String]>,
}

/// Why a condition has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConditionError {
    /// It asks for changed files and they are not known.
    #[error("changed({glob:?}) has no answer: the changed files are not known")]
    ChangedFilesUnknown {
        /// The glob that was asked for.
        glob: String,
    },
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct ConditionSyntaxError {
    /// Column in characters from the start of the expression, from 1.
    pub column: usize,
    /// What was expected, and what was found instead.
    pub message: String,
}

impl Condition {
    /// Answers the condition. Operands are looked at from left to right, and only as far as the
    /// answer needs.
    ///
    /// # Errors
    /// `changed` was reached and the changed files are not known.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<bool, ConditionError> {
        self.0.evaluate(facts)
    }
}

impl FromStr for Condition {
    type Err = ConditionSyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parser::parse(text).map(Self)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
