//! The byte strings by which a secret is recognised in output.
//!
//! This is the only place that decides how a secret may look: as it is, and in base64, because that
//! is how headers, container credentials and Kubernetes manifests carry it. Other spellings of it
//! (percent-encoding and the like) belong here.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use crate::terminal::{cleaned, uncoloured};

/// A value shorter than this would mask half of every log; such secrets are refused where they
/// are stored, and ignored here.
const WHOLE_MIN_BYTES: usize = 4;

/// A line of a longer secret is only masked on its own from this length on.
const LINE_MIN_BYTES: usize = 8;

/// A shorter secret is not looked for in base64, where what is left of it could be a common word.
const ENCODED_SECRET_MIN_BYTES: usize = 8;

/// Everything to look for when `secret` must not appear.
///
/// Tools print a key file line by line, or without its last line end, so those count as well.
pub(super) fn needles(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut needles = plain(secret);
    needles.extend(in_base64(secret.trim_ascii()));
    needles
}

fn plain(secret: &[u8]) -> Vec<Vec<u8>> {
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

/// The secret within a longer text in base64: at each of the three places where it may begin, less
/// the characters that its neighbours have a part in.
fn in_base64(secret: &[u8]) -> Vec<Vec<u8>> {
    if secret.len() < ENCODED_SECRET_MIN_BYTES {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
        let mut text = vec![0; before];
        text.extend_from_slice(secret);
        let whole = text.len() * 8 / 6;
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = alphabet.encode(&text).into_bytes();
            found.extend(encoded.get(shared..whole).map(<[u8]>::to_vec));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
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
        let texts = plain(secret.as_bytes()).into_iter().map(String::from_utf8);
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

    #[test]
    fn secret_in_base64_is_known_whatever_stands_around_it() {
        // Bytes that the two alphabets write differently.
        let secrets: [&[u8]; 3] = [
            b"hunter2!",
            b"k9vQ-mango-7Zt4",
            b"\xfb\xef\xbe\xff\xfe\xfd??>>",
        ];
        for secret in secrets {
            let found = in_base64(secret);
            for around in ["", "x", "xy", "user:", "a longer text "] {
                let text = [around.as_bytes(), secret, around.as_bytes()].concat();
                for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    let encoded = alphabet.encode(&text);
                    assert!(
                        found.iter().any(|needle| is_in(needle, &encoded)),
                        "{encoded}"
                    );
                }
            }
        }
    }

    fn is_in(needle: &[u8], text: &str) -> bool {
        let mut parts = text.as_bytes().windows(needle.len());
        needle.len() >= 8 && parts.any(|part| part == needle)
    }

    #[test]
    fn short_secret_is_not_looked_for_in_base64() {
        assert_eq!(in_base64(b"hunter2"), Vec::<Vec<u8>>::new());
        assert_eq!(needles(b"hunter2"), [b"hunter2"]);
    }
}
