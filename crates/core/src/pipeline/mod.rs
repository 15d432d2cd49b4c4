//! What pipelines are written in: so far, the conditions of their steps.

mod condition;
mod quote;
mod suggest;

pub use condition::{Condition, ConditionError, ConditionSyntaxError, Facts};
