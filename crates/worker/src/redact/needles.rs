//! The byte strings by which a secret is recognised in output.
//!
//! This is the only place that decides how a secret may look. Other spellings of it (base64,
//! percent-encoding and the like) belong here.

use crate::terminal::{cleaned, uncoloured};

/// A value shorter than this would mask half of every log; such secrets are refused where they
/// are stored, and ignored here.
const WHOLE_MIN_BYTES: usize = 4;

/// A line of a longer secret is only masked on its own from this length on.
const LINE_MIN_BYTES: usize = 8;

/// Everything to look for when `secret` must not appear.
///
/// Tools print a key file line by line, or without its last line end, so those count as well.
pub(super) fn needles(secret: &[u8]) -> Vec<Vec<u8>> {
    let whole = [secret, secret.trim_ascii()];
    let lines = secret
        .split(|&byte| byte == b'\n')
        .filter(|line| line.len() < secret.len());
    let lines =
        lines.flat_map(|line| [line.strip_suffix(b"\r").unwrap_or(line), line.trim_ascii()]);

    let mut needles: Vec<_> = long_enough(whole, WHOLE_MIN_BYTES)
        .chain(long_enough(lines, LINE_MIN_BYTES))
        .flat_map(|needle| [uncoloured(needle), uncoloured(&cleaned(needle))])
        .filter(|needle| needle.len() >= WHOLE_MIN_BYTES)
        .collect();
    needles.sort_unstable();
    needles.dedup();
    needles
}

fn long_enough<'a>(
    candidates: impl IntoIterator<Item = &'a [u8]>,
    bytes_min: usize,
) -> impl Iterator<Item = &'a [u8]> {
    // Blanks do not count: a secret of spaces would mask every indentation.
    candidates
        .into_iter()
        .filter(move |candidate| candidate.trim_ascii().len() >= bytes_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(secret: &str) -> Vec<String> {
        let texts = needles(secret.as_bytes())
            .into_iter()
            .map(String::from_utf8);
        texts.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn simple_secret_has_one_needle() {
        assert_eq!(texts("hunter2"), ["hunter2"]);
    }

    #[test]
    fn secret_is_also_known_without_the_blanks_around_it() {
        assert_eq!(texts("token-value\n"), ["token-value", "token-value\n"]);
    }

    #[test]
    fn long_lines_of_a_secret_are_known_on_their_own() {
        let secret = "first-line\r\nshort\n  indented-line\n";
        let found = texts(secret);
        for expected in [
            secret,
            secret.trim(),
            "first-line",
            "indented-line",
            "  indented-line",
        ] {
            assert!(
                found.iter().any(|needle| needle == expected),
                "{expected:?} in {found:?}"
            );
        }
        assert_eq!(found.len(), 5, "{found:?}");
    }

    #[test]
    fn short_and_blank_secrets_have_no_needle() {
        for secret in ["", "abc", "       ", " abc ", "\n\n\n\n"] {
            assert_eq!(texts(secret), Vec::<String>::new(), "{secret:?}");
        }
    }

    #[test]
    fn secret_with_control_characters_is_known_as_the_log_shows_it() {
        assert_eq!(
            texts("pass\x1b[2Jword\x07"),
            ["passJword\x07", "password\u{fffd}"]
        );
    }
}
