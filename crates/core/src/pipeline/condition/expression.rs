//! The tree of a condition: how it is answered and how it is written.

use std::fmt;

use super::{ConditionError, Facts, glob::Glob};

/// A condition or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Any of two or more, none of them `Any` itself.
    Any(Vec<Expression>),
    /// All of two or more, none of them `All` itself.
    All(Vec<Expression>),
    Not(Box<Expression>),
    Compare {
        left: Operand,
        is_equal: bool,
        right: Operand,
    },
    Matches(Variable, Glob),
    Changed(Glob),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Variable(Variable),
    Text(String),
}

/// A fact that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Ref,
    Branch,
    Target,
    Trigger,
}

impl Variable {
    pub(super) const ALL: [Self; 4] = [Self::Ref, Self::Branch, Self::Target, Self::Trigger];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ref => "ref",
            Self::Branch => "branch",
            Self::Target => "target",
            Self::Trigger => "trigger",
        }
    }

    fn value<'a>(self, facts: &Facts<'a>) -> Option<&'a str> {
        match self {
            Self::Ref => Some(facts.ref_name),
            Self::Branch => facts.branch,
            Self::Target => Some(facts.target),
            Self::Trigger => Some(facts.trigger),
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, facts: &Facts<'a>) -> &'a str {
        match self {
            Self::Variable(variable) => variable.value(facts).unwrap_or(""),
            Self::Text(text) => text,
        }
    }
}

impl Expression {
    pub(super) fn evaluate(&self, facts: &Facts<'_>) -> Result<bool, ConditionError> {
        match self {
            Self::Any(parts) => any(parts, true, facts),
            Self::All(parts) => Ok(!any(parts, false, facts)?),
            Self::Not(inner) => Ok(!inner.evaluate(facts)?),
            Self::Compare {
                left,
                is_equal,
                right,
            } => Ok((left.value(facts) == right.value(facts)) == *is_equal),
            Self::Matches(variable, glob) => Ok(variable
                .value(facts)
                .is_some_and(|value| glob.is_match(value))),
            Self::Changed(glob) => match facts.changed {
                Some(paths) => Ok(paths.iter().any(|path| glob.is_match(path))),
                None => Err(ConditionError::ChangedFilesUnknown {
                    glob: glob.as_str().to_owned(),
                }),
            },
        }
    }
}

/// Whether any part has this answer, looking no further than the first that has.
fn any(parts: &[Expression], answer: bool, facts: &Facts<'_>) -> Result<bool, ConditionError> {
    for part in parts {
        if part.evaluate(facts)? == answer {
            return Ok(true);
        }
    }
    Ok(false)
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(parts) => join(f, parts, " || ", false),
            Self::All(parts) => join(f, parts, " && ", true),
            Self::Not(inner) => {
                let is_sign_clear = matches!(
                    inner.as_ref(),
                    Self::Not(_) | Self::Matches(..) | Self::Changed(_)
                );
                f.write_str("!")?;
                grouped(f, inner, !is_sign_clear)
            }
            Self::Compare {
                left,
                is_equal,
                right,
            } => {
                let sign = if *is_equal { "==" } else { "!=" };
                write!(f, "{left} {sign} {right}")
            }
            Self::Matches(variable, glob) => {
                write!(f, "matches({}, {})", variable.name(), Quoted(glob.as_str()))
            }
            Self::Changed(glob) => write!(f, "changed({})", Quoted(glob.as_str())),
        }
    }
}

fn join(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    sign: &str,
    binds_tighter_than_any: bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(sign)?;
        }
        let needs_group = binds_tighter_than_any && matches!(part, Expression::Any(_));
        grouped(f, part, needs_group)?;
    }
    Ok(())
}

/// Parentheses only where they are needed: more would nest deeper than the text that was read.
fn grouped(f: &mut fmt::Formatter<'_>, part: &Expression, needs_group: bool) -> fmt::Result {
    if needs_group {
        write!(f, "({part})")
    } else {
        write!(f, "{part}")
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(variable) => f.write_str(variable.name()),
            Self::Text(text) => Quoted(text).fmt(f),
        }
    }
}

/// A text in the quotes that it does not hold itself.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{mark}{}{mark}", self.0)
    }
}
