//! `${NAME}` inside a text of a settings file, replaced from the environment.
//!
//! There are no defaults and no nesting: a value that depends on more than a name belongs in the
//! environment itself.

use std::collections::BTreeMap;

/// Why a text cannot be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The variable does not exist; an empty one would do.
    #[error("needs the environment variable {0}, which is not set")]
    Unset(String),
    /// `${` without its `}`.
    #[error("has `${{` without a closing brace; write `$${{` for a plain `${{`")]
    Unclosed,
    /// What stands between the braces is not a variable's name.
    #[error("has `${{{0}}}`, which is not the name of an environment variable")]
    Name(String),
}

/// The text with every `${NAME}` replaced, and `$${` as a plain `${`.
///
/// # Errors
///
/// Names the variable that is not set, or the reference that is not one.
pub(super) fn expand(text: &str, env: &BTreeMap<String, String>) -> Result<String, ExpandError> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            done.push_str(escaped);
            done.push_str("${");
            rest = after;
            continue;
        }
        let (name, behind) = after.split_once('}').ok_or(ExpandError::Unclosed)?;
        done.push_str(before);
        done.push_str(variable(name, env)?);
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

fn variable<'a>(name: &str, env: &'a BTreeMap<String, String>) -> Result<&'a str, ExpandError> {
    let allowed = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(allowed)
    {
        return Err(ExpandError::Name(name.to_owned()));
    }
    env.get(name)
        .map(String::as_str)
        .ok_or_else(|| ExpandError::Unset(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, ExpandError> {
        let env = [
            ("HOST", "db.internal"),
            ("EMPTY", ""),
            ("ODD", "a${HOST}$b"),
        ];
        expand(
            text,
            &env.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        assert_eq!(expanded("${HOST}").as_deref(), Ok("db.internal"));
        assert_eq!(
            expanded("a-${HOST}:${HOST}-b").as_deref(),
            Ok("a-db.internal:db.internal-b")
        );
        assert_eq!(expanded("<${EMPTY}>").as_deref(), Ok("<>"));
    }

    #[test]
    fn replaced_values_are_not_expanded_again() {
        assert_eq!(expanded("${ODD}").as_deref(), Ok("a${HOST}$b"));
    }

    #[test]
    fn doubled_dollar_is_a_plain_one() {
        assert_eq!(expanded("$${HOST}").as_deref(), Ok("${HOST}"));
        assert_eq!(expanded("$HOST {HOST} $").as_deref(), Ok("$HOST {HOST} $"));
    }

    #[test]
    fn broken_references_are_refused() {
        assert_eq!(
            expanded("${NONE}"),
            Err(ExpandError::Unset("NONE".to_owned()))
        );
        assert_eq!(expanded("x${HOST"), Err(ExpandError::Unclosed));
        assert_eq!(expanded("${}"), Err(ExpandError::Name(String::new())));
        assert_eq!(
            expanded("${HOST:-x}"),
            Err(ExpandError::Name("HOST:-x".to_owned()))
        );
    }
}
