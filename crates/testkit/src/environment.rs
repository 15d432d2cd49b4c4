//! The environment of the test run: the only place where tests read it.
//!
//! Settings are the one place where the product does, and the tests' own variables are none of its
//! settings.

use std::{collections::BTreeMap, env};

/// A variable that is set to something.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    variables().remove(name).filter(|value| !value.is_empty())
}

/// Every variable whose name and value are text.
pub(crate) fn variables() -> BTreeMap<String, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment for tests"
    )]
    let all = env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_is_read_and_a_missing_one_is_none() {
        assert_eq!(
            variable("CARGO_PKG_NAME").as_deref(),
            Some("slipway-testkit")
        );
        assert_eq!(variable("SLIPWAY_TEST_NO_SUCH_VARIABLE"), None);
    }
}
