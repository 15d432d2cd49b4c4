//! The pipeline document: what a deployment does, read from YAML or JSON into types.
//!
//! Reading is pure and complete: a [`Pipeline`] that exists is valid, and a document that is not
//! is refused with the line, column and path of every mistake. Running it is the worker's work.

pub(crate) mod condition;
mod duration;
mod error;
mod json;
mod model;
mod node;
mod path;
mod quote;
mod read;
mod rules;
mod scalar;
pub(crate) mod suggest;

pub use condition::{Condition, ConditionError, ConditionSyntaxError, Facts};
pub use error::{PipelineError, PipelineErrors};
pub use model::{Activate, Health, Hosts, OnFailure, Pipeline, Step};
pub use read::parse;
