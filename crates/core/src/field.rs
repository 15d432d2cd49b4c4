//! Values that people type, checked once at the edge; inside, a value of these types is good.

use std::{fmt, str::FromStr};

use crate::error::{Error, FieldError};

/// Gathers the problems of one input, so that a caller learns all of them at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<FieldError>);

impl Problems {
    /// Keeps the value, or notes why the field has none.
    pub fn take<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(message) => {
                self.0.push(FieldError::new(field, message));
                None
            }
        }
    }

    /// Reads a field that must be there.
    pub fn parse<T: FromStr<Err = String>>(&mut self, field: &str, text: &str) -> Option<T> {
        self.take(field, text.parse())
    }

    /// Reads a field that may be missing; empty text counts as missing.
    pub fn parse_optional<T: FromStr<Err = String>>(
        &mut self,
        field: &str,
        text: Option<&str>,
    ) -> Option<T> {
        text.filter(|text| !text.is_empty())
            .and_then(|text| self.parse(field, text))
    }

    /// Notes a problem.
    pub fn note(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The input's value, or every problem.
    ///
    /// # Errors
    /// [`Error::Invalid`] when something was noted.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid(self.0)),
        }
    }
}

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident($check:expr)),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The value as owned text.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text! {
    /// The short name in addresses: lower-case letters, digits and single hyphens between them.
    Slug(check_slug),
    /// A name for people, on one line.
    DisplayName(|text| check_line(text, 1, 100)),
    /// A remark for people, on one line.
    Remark(|text| check_line(text, 1, 1000)),
    /// An e-mail address, as far as its shape can tell.
    Email(check_email),
    /// The name of a variable or secret: what a shell accepts, in capitals or not.
    VariableName(check_variable_name),
    /// A branch, tag or commit id that git accepts and that no command takes for an option.
    RefName(check_ref),
    /// The folder of a local target: absolute, without `.` and `..`.
    FolderPath(check_folder),
    /// What a client sends so that a repeated request has one effect: 1 to 255 printable characters.
    IdempotencyKey(check_idempotency_key),
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || is_invisible(c))
}

/// Marks that change the direction or the look of other text without showing themselves.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn check_line(text: &str, least: usize, most: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length < least || length > most {
        return Err(format!(
            "must have {least} to {most} characters, has {length}"
        ));
    }
    if has_control(text) {
        return Err("must be one line without control characters".to_owned());
    }
    if text.trim() != text {
        return Err("must not begin or end with a space".to_owned());
    }
    Ok(())
}

fn check_slug(text: &str) -> Result<(), String> {
    let parts_ok = text.split('-').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    if !parts_ok || text.len() > 63 {
        return Err(
            "must be 1 to 63 lower-case letters, digits and single hyphens between them".to_owned(),
        );
    }
    // Addresses accept a slug or an id in the same place.
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("must have a letter, or it would be taken for an id".to_owned());
    }
    Ok(())
}

fn check_email(text: &str) -> Result<(), String> {
    let shape = || {
        let (local, domain) = text.rsplit_once('@')?;
        let local_ok = (1..=64).contains(&local.len())
            && !local.starts_with('-')
            && local
                .chars()
                .all(|c| !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c));
        let label_ok = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        (local_ok && domain.len() <= 189 && domain.split('.').all(label_ok)).then_some(())
    };
    if text.len() > 254 || has_control(text) || shape().is_none() {
        return Err("must be an e-mail address such as ann@example.com".to_owned());
    }
    Ok(())
}

fn check_variable_name(text: &str) -> Result<(), String> {
    let mut bytes = text.bytes();
    let first_ok = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first_ok || text.len() > 128 || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("must be 1 to 128 letters, digits and underscores, no digit first".to_owned());
    }
    if text.starts_with("SLIPWAY_") {
        return Err("must not start with SLIPWAY_, which Slipway itself fills".to_owned());
    }
    Ok(())
}

/// The rules of `git check-ref-format`, for a name below `refs/heads` or `refs/tags`.
fn check_ref(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 255 {
        return Err("must have 1 to 255 characters".to_owned());
    }
    if text.starts_with('-') {
        return Err("must not start with -".to_owned());
    }
    if has_control(text) {
        return Err("must not hold control characters".to_owned());
    }
    let forbidden = text.chars().any(|c| " ~^:?*[\\".contains(c));
    let parts_ok = text
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    if forbidden
        || !parts_ok
        || text.contains("..")
        || text.contains("@{")
        || text.ends_with('.')
        || text == "@"
    {
        return Err("must be a branch, a tag or a full commit id as git accepts it".to_owned());
    }
    Ok(())
}

fn check_folder(text: &str) -> Result<(), String> {
    if !text.starts_with('/') || text.len() > 1000 || has_control(text) {
        return Err("must be an absolute path of at most 1000 bytes".to_owned());
    }
    let mut parts = text.trim_end_matches('/').split('/').skip(1).peekable();
    if parts.peek().is_none() {
        return Err("must not be the root folder".to_owned());
    }
    if parts.any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("must not hold empty parts, `.` or `..`".to_owned());
    }
    Ok(())
}

fn check_idempotency_key(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be 1 to 255 printable ASCII characters without spaces".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: FromStr<Err = String>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} was refused");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn slugs_are_plain_and_never_look_like_ids() {
        let long = "a".repeat(64);
        accepts::<Slug>(
            &["a", "web-1", "2fa", &"a".repeat(63)],
            &[
                "", "A", "a_b", "-a", "a-", "a--b", "12", "a b", "ä", "a\n", &long,
            ],
        );
    }

    #[test]
    fn refs_cannot_be_options_or_revision_expressions() {
        accepts::<RefName>(
            &[
                "main",
                "feature/a-b",
                "v1.2.3",
                "0123456789012345678901234567890123456789",
            ],
            &[
                "",
                "-h",
                "--upload-pack=touch p",
                "a b",
                "a..b",
                "a~1",
                "a^",
                "a:b",
                "main\n",
                "a@{1}",
                "@",
                "/a",
                "a/",
                "a//b",
                ".a",
                "a.lock",
                "a.",
                "a\\b",
                "a*",
                "a\u{202e}b",
            ],
        );
        // Shell syntax is git's business to allow: nothing here passes through a shell.
        accepts::<RefName>(&["main;touch", "$(id)", "`id`", "a'b"], &[]);
    }

    #[test]
    fn folders_are_absolute_and_without_tricks() {
        accepts::<FolderPath>(
            &["/srv/web", "/srv/web/"],
            &[
                "",
                "/",
                "//",
                "srv",
                "/srv/../etc",
                "/srv/./a",
                "/srv//a",
                "/srv/\n",
            ],
        );
    }

    #[test]
    fn names_are_one_line() {
        accepts::<DisplayName>(
            &["Ann", "Zoë the 2nd"],
            &["", " a", "a\tb", "a\u{0}", "a\u{200b}"],
        );
        accepts::<VariableName>(
            &["A", "_a1"],
            &["", "1A", "A-B", "A B", "SLIPWAY_REF", "A\n"],
        );
        accepts::<Email>(
            &["ann@example.com", "admin@localhost"],
            &[
                "", "ann", "@a", "a@", "a b@c.d", "a@b..c", "-a@b.c", "a@-b.c", "a\n@b.c",
            ],
        );
        accepts::<IdempotencyKey>(&["a-1"], &["", "a b", "ä", &"a".repeat(256)]);
    }

    #[test]
    fn every_problem_of_an_input_is_told() {
        let mut problems = Problems::default();
        let slug = problems.parse::<Slug>("slug", "A");
        problems.note("name", "is missing");
        let Err(Error::Invalid(fields)) = problems.finish(slug) else {
            panic!("accepted");
        };
        assert_eq!(fields.len(), 2);
    }
}
