//! The one place where JSON is not YAML: characters written as two `\u` escapes.
//!
//! JSON writes a character beyond U+FFFF as a surrogate pair, which YAML refuses; YAML's own
//! spelling is `\U` with eight digits. Everything else in a JSON text is read by the YAML reader.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Rewrites surrogate pairs in a JSON text; any other text is returned as it is.
///
/// Columns after a pair on the same line come out two too small for each.
pub(super) fn join_surrogates(source: &str) -> Cow<'_, str> {
    // In a text that is not JSON, a backslash may stand outside quotes and mean itself.
    let has_pair = source.contains(r"\ud") || source.contains(r"\uD");
    if !has_pair || serde_json::from_str::<IgnoredAny>(source).is_err() {
        return Cow::Borrowed(source);
    }
    let mut joined = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, escape)) = rest.split_once('\\') {
        joined.push_str(before);
        if let Some((character, after)) = surrogate_pair(escape) {
            joined.push_str(&format!(r"\U{:08X}", u32::from(character)));
            rest = after;
        } else {
            // The escaped character goes along, or `\\ud83d` would be taken for an escape.
            let mut characters = escape.chars();
            joined.push('\\');
            joined.extend(characters.next());
            rest = characters.as_str();
        }
    }
    joined.push_str(rest);
    Cow::Owned(joined)
}

/// Reads `uD83D\uDE80`, the text after a backslash, as one character.
fn surrogate_pair(escape: &str) -> Option<(char, &str)> {
    let (high, rest) = unit(escape)?;
    let (low, rest) = unit(rest.strip_prefix('\\')?)?;
    let character = char::decode_utf16([high, low]).next()?.ok()?;
    // A plain character and another escape are no pair.
    (u32::from(character) > 0xFFFF).then_some((character, rest))
}

fn unit(escape: &str) -> Option<(u16, &str)> {
    let (digits, rest) = escape.strip_prefix('u')?.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok()?;
    is_hex.then_some((unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pair_in_json_becomes_one_escape() {
        assert_eq!(
            join_surrogates(r#"{"a": "x\ud83d\uDE80y\u00e9\n"}"#),
            r#"{"a": "x\U0001F680y\u00e9\n"}"#
        );
    }

    #[test]
    fn escaped_backslash_begins_no_pair() {
        let source = r#"["\\ud83d\\ude80"]"#;
        assert_eq!(join_surrogates(source), source);
    }

    #[test]
    fn text_that_is_not_json_stays_as_it_is() {
        let source = "run: printf '\\ud83d\\ude80'";
        assert_eq!(join_surrogates(source), source);
    }

    #[test]
    fn lone_surrogate_is_left_for_the_reader_to_refuse() {
        let source = r#"["\ud83dx\u0041"]"#;
        assert_eq!(join_surrogates(source), source);
    }
}
