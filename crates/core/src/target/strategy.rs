//! How the hosts of a target are taken, and which branches are deployed to it by a push. A local
//! target is one host, which every strategy takes the same way.

use serde::{Deserialize, Serialize};

/// How several hosts are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Strategy {
    /// Hosts at once: a number, a share such as `25%`, or `all`.
    pub batch: String,
    /// Pause between batches, such as `5s`.
    pub pause: String,
    /// Hosts that may fail before the rest is left alone.
    pub max_failures: u32,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            batch: "all".to_owned(),
            pause: "0s".to_owned(),
            max_failures: 0,
        }
    }
}

impl Strategy {
    /// The strategy, if it makes sense.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn checked(self) -> Result<Self, String> {
        let is_share = self.batch.strip_suffix('%').is_some_and(|share| {
            share
                .parse::<u32>()
                .is_ok_and(|share| (1..=100).contains(&share))
        });
        let is_number = self
            .batch
            .parse::<u32>()
            .is_ok_and(|hosts| (1..=1000).contains(&hosts));
        if !(self.batch == "all" || is_share || is_number) {
            return Err("batch must be 1 to 1000, 1% to 100%, or all".to_owned());
        }
        let seconds = self
            .pause
            .strip_suffix('s')
            .and_then(|text| text.parse::<u32>().ok());
        if seconds.is_none_or(|seconds| seconds > 3600) {
            return Err("pause must be 0s to 3600s".to_owned());
        }
        if self.max_failures > 1000 {
            return Err("max_failures must be at most 1000".to_owned());
        }
        Ok(self)
    }
}

/// Checks a branch filter.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_filter(filter: String) -> Result<String, String> {
    let is_good = (1..=255).contains(&filter.len())
        && !filter.starts_with('-')
        && !filter.chars().any(|c| c.is_control() || c.is_whitespace())
        && globset::Glob::new(&filter).is_ok();
    if is_good {
        Ok(filter)
    } else {
        Err("must be a branch name or pattern such as release/*".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_have_bounds() {
        let with = |batch: &str, pause: &str| Strategy {
            batch: batch.to_owned(),
            pause: pause.to_owned(),
            max_failures: 0,
        };
        for good in [with("all", "0s"), with("1", "5s"), with("25%", "60s")] {
            assert!(good.checked().is_ok());
        }
        for bad in [
            with("0", "0s"),
            with("101%", "0s"),
            with("x", "0s"),
            with("1", "5"),
            with("1", ""),
        ] {
            assert!(bad.clone().checked().is_err(), "{bad:?}");
        }
        assert!(check_filter("release/*".to_owned()).is_ok());
        assert!(check_filter("-x".to_owned()).is_err());
        assert!(check_filter("a b".to_owned()).is_err());
    }
}
