//! Finds secrets by the name in front of them: `NAME=value`, `"NAME": "value"`, `Name: value`.
//!
//! A scanner, not a parser: a record may hold JSON inside JSON inside a message. What it goes by is
//! how many backslashes stand before a quote, which tells the strings of one depth from another's.

use slipway_redact::MASK;

use crate::settings::LogFormat;

const NAMES: [&str; 16] = [
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "encryptionkey",
    "masterkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "signingkey",
    "token",
];
/// So short that they count only as a word of their own: `db_pass` does, `bypass` does not.
const WORDS: [&str; 5] = ["dsn", "jwt", "otp", "pass", "totp"];
const SCHEMES: [&str; 5] = ["basic", "bearer", "digest", "negotiate", "token"];
/// Words that mean there is no value.
const NOTHING: [&str; 4] = ["null", "None", "true", "false"];

/// Whether a field, variable or header of this name holds a secret.
///
/// Only the end counts: `db_password` does, `secret.name` does not.
pub(crate) fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | '.'));
    let compact: String = letters.flat_map(char::to_lowercase).collect();
    let one = compact.strip_suffix('s').unwrap_or(&compact);
    let is_named = |secret: &&str| compact.ends_with(*secret) || one.ends_with(*secret);
    NAMES.iter().any(is_named) || WORDS.contains(&last_word(name).as_str())
}

/// What stands behind the last separator or change of case, in small letters.
fn last_word(name: &str) -> String {
    let mut word = String::new();
    for c in name.chars() {
        let begins = c.is_uppercase() && word.chars().last().is_some_and(char::is_lowercase);
        if matches!(c, '_' | '-' | '.') || begins {
            word.clear();
        }
        word.extend(Some(c).filter(|c| c.is_alphanumeric()));
    }
    word.to_lowercase()
}

/// The record with the values of secret names masked, or `None` if it has none.
pub(super) fn mask(record: &str, format: LogFormat) -> Option<String> {
    // Whatever is not a key in JSON is inside a string, which ends at the first bare quote.
    let outside = usize::from(format == LogFormat::Json);
    let mut masked = String::new();
    let mut done = 0;
    for (at, _) in record.match_indices([':', '=', '_', ' ']) {
        if at < done {
            continue;
        }
        let scan = Scan { record, outside };
        if let Some((start, end, quote)) = scan.secret(at) {
            masked.push_str(record.get(done..start)?);
            masked.push_str(quote);
            masked.push_str(MASK);
            masked.push_str(quote);
            done = end;
        }
    }
    (done > 0).then(|| masked + record.get(done..).unwrap_or_default())
}

/// Start and end of a secret, and the quotes to put around its mask.
type Found<'r> = (usize, usize, &'r str);

struct Scan<'r> {
    record: &'r str,
    /// Quotes with fewer backslashes than this end an unquoted text.
    outside: usize,
}

impl<'r> Scan<'r> {
    fn secret(&self, at: usize) -> Option<Found<'r>> {
        let (before, separator) = (self.record.get(..at)?, self.byte(at)?);
        match separator {
            b'_' => self.own_token(at),
            b' ' => {
                let word = before.get(before.len().checked_sub("bearer".len())?..)?;
                let bearer = word.eq_ignore_ascii_case("bearer");
                let start = at + 1;
                let end = self.word_end(start);
                (bearer && end - start >= 8).then_some((start, end, ""))
            }
            _ if self.rest(at).starts_with("://") => self.url_password(at + 3),
            _ => self.named(before, at + 1),
        }
    }

    /// The value behind a name and its separator.
    fn named(&self, before: &'r str, start: usize) -> Option<Found<'r>> {
        let before = before.trim_end_matches(' ');
        let closed = before.strip_suffix(['"', '\'']);
        let text = closed.unwrap_or(before).trim_end_matches('\\');
        let quote = closed
            .and_then(|_| before.get(text.len()..))
            .unwrap_or_default();
        let name = text.rsplit(|c: char| !is_name(c)).next()?;
        let is_path = text.strip_suffix(name)?.ends_with("::");
        if is_path || !is_secret(name) || self.byte(start) == Some(b':') {
            return None;
        }
        let depth = if quote.ends_with('"') {
            quote.len() - 1
        } else {
            self.outside
        };
        self.value(start, depth, quote)
    }

    fn value(&self, start: usize, depth: usize, quote: &'r str) -> Option<Found<'r>> {
        let start = self.skip(start, |c| c == ' ');
        let some = if self.rest(start).starts_with("Some(") {
            start + 5
        } else {
            start
        };
        let slashes = self.skip(some, |c| c == '\\') - some;
        match self.byte(some + slashes)? {
            opening @ (b'"' | b'\'') if closed_outside(slashes, depth).is_none() => {
                let inside = some + slashes + 1;
                let (end, _) = self.string_end(inside, opening, slashes, depth);
                (end > inside).then_some((inside, end, ""))
            }
            b'[' | b'{' if slashes == 0 => Some((start, self.bracket_end(some, depth), quote)),
            _ => {
                let end = self.bare_end(start, quote);
                let nothing = NOTHING.contains(&self.record.get(start..end)?);
                (end > start && !nothing).then_some((start, end, quote))
            }
        }
    }

    /// Where a string ends that was opened behind so many backslashes, and whether by its own quote:
    /// a quote of an outer string ends one that was cut off.
    fn string_end(&self, start: usize, opening: u8, slashes: usize, depth: usize) -> (usize, bool) {
        let outer = if opening == b'"' { slashes } else { depth };
        for (at, found) in self.rest(start).match_indices(['"', '\'']) {
            let run = trailing_slashes(self.rest(start).get(..at).unwrap_or_default());
            if found.as_bytes() == [opening] && run % (2 * (slashes + 1)) == slashes {
                return (start + at - slashes, true);
            }
            if let Some(slashes) = closed_outside(run, outer).filter(|_| found == "\"") {
                return (start + at - slashes, false);
            }
        }
        (self.record.len(), false)
    }

    /// Where a list or an object ends.
    fn bracket_end(&self, start: usize, depth: usize) -> usize {
        let mut open = 0_usize;
        let mut at = start;
        while let Some(byte) = self.byte(at) {
            at += 1;
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                b'"' => {
                    let slashes = trailing_slashes(self.record.get(..at - 1).unwrap_or_default());
                    if let Some(outer) = closed_outside(slashes, depth) {
                        return at - 1 - outer;
                    }
                    let (end, closed) = self.string_end(at, b'"', slashes, depth);
                    if !closed {
                        return end;
                    }
                    at = end + slashes + 1;
                }
                _ => {}
            }
            if open == 0 {
                return at;
            }
        }
        self.record.len()
    }

    /// Where an unquoted value ends, an authentication scheme's credentials included.
    fn bare_end(&self, start: usize, quote: &str) -> usize {
        let end = self.word_end(start);
        let word = self.record.get(start..end).unwrap_or_default();
        if SCHEMES
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme))
        {
            return self.word_end(self.skip(end, |c| c == ' '));
        }
        // Behind a quoted name the syntax is that of JSON, elsewhere a comma may be in the secret.
        match word.find([',', '}', ']']) {
            Some(length) if !quote.is_empty() => start + length,
            _ => start + word.trim_end_matches([',', ';', ')', ']', '}']).len(),
        }
    }

    /// Where a run without spaces and quotes ends.
    fn word_end(&self, start: usize) -> usize {
        let end = self.skip(start, |c| !c.is_whitespace() && !matches!(c, '"' | '\''));
        if !self.rest(end).starts_with(['"', '\'']) {
            return end;
        }
        let word = self.record.get(start..end).unwrap_or_default();
        start + word.trim_end_matches('\\').len()
    }

    /// The password in `scheme://user:password@host`.
    fn url_password(&self, start: usize) -> Option<Found<'r>> {
        let end = self.skip(start, |c| {
            !c.is_whitespace() && !matches!(c, '/' | '"' | '\'' | '?')
        });
        let (account, _host) = self.record.get(start..end)?.rsplit_once('@')?;
        let (user, password) = account.split_once(':')?;
        let from = start + user.len() + 1;
        (!password.is_empty()).then_some((from, from + password.len(), ""))
    }

    /// One of our own API tokens, wherever it stands.
    fn own_token(&self, at: usize) -> Option<Found<'r>> {
        let before = self.record.get(..at)?.strip_suffix("slw")?;
        let end = self.skip(at + 1, |c| c.is_ascii_alphanumeric());
        (end - at > 20).then_some((before.len(), end, ""))
    }

    fn skip(&self, start: usize, wanted: impl Fn(char) -> bool) -> usize {
        let rest = self.rest(start);
        start + (rest.len() - rest.trim_start_matches(wanted).len())
    }

    fn rest(&self, start: usize) -> &'r str {
        self.record.get(start..).unwrap_or_default()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.record.as_bytes().get(at).copied()
    }
}

/// With how many backslashes a quote ends a string around the one at this depth, if it does.
///
/// Strings inside strings have their quotes behind 0, 1, 3, 7, ... backslashes.
fn closed_outside(run: usize, depth: usize) -> Option<usize> {
    let levels = std::iter::successors(Some(0_usize), |level| Some(2 * level + 1));
    levels
        .take_while(|level| *level < depth)
        .find(|level| run % (2 * (level + 1)) == *level)
}

fn trailing_slashes(text: &str) -> usize {
    text.len() - text.trim_end_matches('\\').len()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(record: &str) -> String {
        mask(record, LogFormat::Text).unwrap_or_else(|| record.to_owned())
    }

    fn json(record: &serde_json::Value) -> serde_json::Value {
        let line = record.to_string();
        let masked = mask(&line, LogFormat::Json).unwrap_or(line);
        serde_json::from_str(&masked).unwrap_or_else(|error| panic!("{error}: {masked}"))
    }

    #[test]
    fn values_of_secret_names_are_masked() {
        for (record, expected) in [
            (
                "DB_PASSWORD=hunter2 user=me",
                "DB_PASSWORD=[REDACTED] user=me",
            ),
            ("password = \"a b \\\" c\" x", "password = \"[REDACTED]\" x"),
            (
                "{\"apiKey\": \"k\", \"b\": 1}",
                "{\"apiKey\": \"[REDACTED]\", \"b\": 1}",
            ),
            (
                "{\"token\":123,\"b\":1}",
                "{\"token\":\"[REDACTED]\",\"b\":1}",
            ),
            (
                "Authorization: Bearer abc.def, x",
                "Authorization: [REDACTED] x",
            ),
            ("x-api-key: k1; b", "x-api-key: [REDACTED]; b"),
            (
                "Login { password: Some(\"a b\"), n: 1 }",
                "Login { password: Some(\"[REDACTED]\"), n: 1 }",
            ),
            (
                "{\"secret\":[\"a\",\"]\"],\"b\":1}",
                "{\"secret\":\"[REDACTED]\",\"b\":1}",
            ),
            (
                "Vault { encryption_key: [1, 2] }",
                "Vault { encryption_key: [REDACTED] }",
            ),
            ("a=1&access_token=abc&b=2", "a=1&access_token=[REDACTED]"),
            ("{'secret': 'it'}", "{'secret': '[REDACTED]'}"),
            ("tokens: [\"ab\", \"cd\"], n: 1", "tokens: [REDACTED], n: 1"),
            (
                "DB_PASS=ab dbPass=cd bypass=ef",
                "DB_PASS=[REDACTED] dbPass=[REDACTED] bypass=ef",
            ),
        ] {
            assert_eq!(text(record), expected);
        }
    }

    #[test]
    fn secrets_are_recognised_by_their_shape_too() {
        for (record, expected) in [
            ("mysql://me:p@ss@db:1/x", "mysql://me:[REDACTED]@db:1/x"),
            ("sent bearer abcdefgh12 to x", "sent bearer [REDACTED] to x"),
            ("got slw_0123456789abcdefghijklm.", "got [REDACTED]."),
        ] {
            assert_eq!(text(record), expected);
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        for record in [
            "slipway_core::account::token: made one",
            "secret.name=DB token_count=5 next: yes",
            "https://example.com/a:b@c http://user@host/",
            "password= ",
            "{\"password\":null,\"token\":\"\"}",
            "bearer of news",
            "",
        ] {
            assert_eq!(text(record), record);
        }
    }

    #[test]
    fn json_stays_json_whatever_it_contains() {
        let nested = serde_json::json!({"password": "x\"y", "n": [1], "deep": {"token": ["t"]}});
        let twice = serde_json::json!({"message": format!("body {nested} end"), "keep": "yes"});
        let masked = json(&serde_json::json!({"message": twice.to_string(), "keep": "yes"}));
        assert_eq!(masked["keep"], "yes");
        let inner: serde_json::Value =
            serde_json::from_str(masked["message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["keep"], "yes");
        assert_eq!(
            inner["message"],
            "body {\"deep\":{\"token\":\"[REDACTED]\"},\"n\":[1],\"password\":\"[REDACTED]\"} end"
        );
    }

    #[test]
    fn cut_off_values_end_with_their_string() {
        for message in [
            "password=ab",
            "password=\\{ab",
            "password=\\\"ab",
            "password: \"ab",
            "{\"token\":[\"ab",
            "{\"token\":{\"x\":\"ab\\",
        ] {
            let masked = json(&serde_json::json!({"message": message, "other": "kept"}));
            assert_eq!(masked["other"], "kept", "{message}");
            assert!(
                !masked["message"].as_str().unwrap().contains("ab"),
                "{masked}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_message_leaves_valid_json(message in "[a\"'\\\\:=\\[{\\]} ,@/_]{0,12}(token|password|slw_)[a\"'\\\\:=\\[{\\]} ,@/_]{0,24}") {
            let masked = json(&serde_json::json!({"message": message, "other": "kept"}));
            proptest::prop_assert_eq!(&masked["other"], "kept");
        }

        #[test]
        fn a_quoted_secret_never_survives(secret in "\\PC{6,20}", rest in "[ -~]{0,10}") {
            let distinct = format!("S3{secret}");
            let record = serde_json::json!({"db_password": distinct, "other": rest});
            proptest::prop_assert_eq!(&json(&record)["db_password"], "[REDACTED]");
            let message = serde_json::json!({"message": format!("{record}")});
            let masked = json(&message);
            proptest::prop_assert!(!masked["message"].as_str().unwrap().contains(&distinct));
        }
    }
}
