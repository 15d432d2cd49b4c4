//! API tokens: `slw_`, 256 random bits, and a checksum.
//!
//! The prefix lets scanners find leaked tokens, the checksum turns away mistyped ones without a
//! question to the database, which holds only a hash. A fast hash will do: nobody guesses 256 bits.

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const PREFIX: &str = "slw_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is a little more than 2^256.
pub(super) const RANDOM_CHARS: usize = 43;
/// 62^6 is more than 2^32.
const CHECKSUM_CHARS: usize = 6;
const HINT_CHARS: usize = 4;

/// A token that has just been made.
#[derive(Debug)]
pub struct NewToken {
    /// The token, shown once.
    pub plain: SecretString,
    /// What is stored: SHA-256 in hexadecimal.
    pub hash: String,
    /// The last four characters, by which people tell their tokens apart.
    pub hint: String,
}

/// Makes a token from the operating system's randomness.
///
/// # Errors
///
/// When the operating system has none to give.
pub fn generate() -> Result<NewToken, getrandom::Error> {
    let body = Zeroizing::new(format!("{PREFIX}{}", *random_text()?));
    let checksum = checksum(&body);
    let hint = checksum.chars().skip(CHECKSUM_CHARS - HINT_CHARS).collect();
    let plain = Zeroizing::new(format!("{}{checksum}", *body));
    Ok(NewToken {
        hash: hashed(&plain),
        hint,
        plain: plain.as_str().into(),
    })
}

/// The hash to look a token up by, or `None` for what cannot be a token.
#[must_use]
pub fn parse_and_hash(text: &str) -> Option<String> {
    let random = text.strip_prefix(PREFIX)?;
    let length = random.len() == RANDOM_CHARS + CHECKSUM_CHARS;
    if !length || !random.bytes().all(|byte| DIGITS.contains(&byte)) {
        return None;
    }
    let (body, given) = text.split_at_checked(text.len() - CHECKSUM_CHARS)?;
    (checksum(body) == given).then(|| hashed(text))
}

/// 256 random bits as letters and digits.
pub(super) fn random_text() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut text = Zeroizing::new(String::with_capacity(RANDOM_CHARS));
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while text.len() < RANDOM_CHARS {
        getrandom::fill(bytes.as_mut_slice())?;
        // From 248 on, the remainders would favour the first digits.
        let fair = bytes
            .iter()
            .filter(|byte| usize::from(**byte) < 4 * DIGITS.len());
        let digits = fair.map(|byte| digit(u32::from(*byte)));
        let missing = RANDOM_CHARS - text.len();
        text.extend(digits.take(missing));
    }
    Ok(text)
}

/// SHA-256 in hexadecimal.
pub(super) fn hashed(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Tells mistyped and invented tokens from real ones; it protects nothing.
fn checksum(body: &str) -> String {
    let hash = Sha256::digest(body);
    let mut rest = hash
        .iter()
        .take(4)
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let mut digits = ['0'; CHECKSUM_CHARS];
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= DIGITS.len() as u32;
    }
    digits.iter().collect()
}

fn digit(number: u32) -> char {
    let digit = DIGITS.get(number as usize % DIGITS.len());
    char::from(digit.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn token_has_prefix_randomness_and_checksum() {
        let token = generate().unwrap();
        let plain = token.plain.expose_secret();
        assert_eq!(plain.len(), 4 + 43 + 6);
        assert!(plain.starts_with("slw_"));
        assert!(plain.ends_with(&token.hint) && token.hint.len() == 4);
        assert!(
            plain[4..].chars().all(|c| c.is_ascii_alphanumeric()),
            "{plain}"
        );
    }

    #[test]
    fn stored_hash_is_found_again() {
        let token = generate().unwrap();
        let plain = token.plain.expose_secret();
        assert_eq!(parse_and_hash(plain), Some(token.hash.clone()));
        assert_eq!(token.hash, hex::encode(Sha256::digest(plain)));
    }

    #[test]
    fn format_is_pinned() {
        let token = "slw_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg14UWyQ";
        assert_eq!(
            parse_and_hash(token),
            Some("79a2ff4999cf6b3de54328e1ca425533cf8d79c68bca50b862fe9602118d3461".to_owned())
        );
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let token = generate().unwrap();
        let plain = token.plain.expose_secret();
        for position in 0..plain.len() {
            for other in ['0', 'a', 'Z', '_', ' '] {
                if !plain[position..].starts_with(other) {
                    let mut mistyped = plain.to_owned();
                    mistyped.replace_range(position..=position, &other.to_string());
                    assert_eq!(parse_and_hash(&mistyped), None, "{mistyped}");
                }
            }
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let token = generate().unwrap();
        let plain = token.plain.expose_secret();
        let longer = format!("{plain}0");
        let spaced = format!("{plain} ");
        for other in [
            "",
            "slw_",
            &plain[..52],
            &plain[4..],
            &longer,
            &spaced,
            "slw_é",
        ] {
            assert_eq!(parse_and_hash(other), None, "{other}");
        }
        assert_eq!(parse_and_hash(&format!("slw_{}", "é".repeat(49))), None);
    }

    #[test]
    fn tokens_differ_and_use_every_digit_equally() {
        let mut seen = HashSet::new();
        let mut counts = BTreeMap::new();
        for _ in 0..5_000 {
            let text = random_text().unwrap();
            text.chars()
                .for_each(|c| *counts.entry(c).or_insert(0_u32) += 1);
            assert!(seen.insert(text.as_str().to_owned()));
        }
        assert_eq!(counts.len(), 62);
        // 215,000 draws make 3,468 of each, give or take 58; eight times that is no accident.
        assert!(
            counts.values().all(|count| count.abs_diff(3_468) < 470),
            "{counts:?}"
        );
    }

    #[test]
    fn token_does_not_print_itself() {
        let token = generate().unwrap();
        assert!(!format!("{token:?}").contains(&token.plain.expose_secret()[4..20]));
    }
}
