//! Globs of conditions: `*` and `?` stay within one path part, `**` crosses them.

use globset::{GlobBuilder, GlobSet};

/// A glob that compiled; equal to another when it is written the same.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    text: String,
    matcher: GlobSet,
}

impl Glob {
    pub(crate) fn new(text: &str) -> Result<Self, globset::Error> {
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .build()?;
        // A single glob's `compile_matcher` panics where a set's `build` answers with an error.
        let matcher = GlobSet::builder().add(glob).build()?;
        let text = text.to_owned();
        Ok(Self { text, matcher })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}
