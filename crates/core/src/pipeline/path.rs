//! The place of a value in the document, as messages name it: `build[0].timeout`.

use super::quote::quote;

/// A path that grows and shrinks as the document is walked.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(String);

/// How long a path was before it grew.
#[derive(Debug)]
pub(super) struct Mark(usize);

impl Path {
    /// Steps into the value of `key`.
    pub(super) fn enter_key(&mut self, key: &str) -> Mark {
        let mark = Mark(self.0.len());
        if !self.0.is_empty() {
            self.0.push('.');
        }
        if is_word(key) {
            self.0.push_str(key);
        } else {
            self.0.push_str(&quote(key));
        }
        mark
    }

    /// Steps into the item at `index`.
    pub(super) fn enter_item(&mut self, index: usize) -> Mark {
        let mark = Mark(self.0.len());
        self.0.push_str(&format!("[{index}]"));
        mark
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Steps back out to where `mark` was taken.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a mark is good for one return"
    )]
    pub(super) fn leave(&mut self, mark: Mark) {
        self.0.truncate(mark.0);
    }
}

/// Whether a key can stand in a path as it is.
fn is_word(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_names_keys_and_items_and_shrinks_again() {
        let mut path = Path::default();
        path.enter_key("build");
        path.enter_item(0);
        let step = path.enter_key("env");
        path.enter_key("A B");
        assert_eq!(path.as_str(), "build[0].env.\"A B\"");
        path.leave(step);
        assert_eq!(path.as_str(), "build[0]");
    }
}
