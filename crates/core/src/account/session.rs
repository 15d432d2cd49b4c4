//! Session ids: 256 random bits in a cookie, a hash in the database.
//!
//! An id says nothing and is worth nothing without its row; how long a session lasts is decided
//! where the row is read.

use secrecy::SecretString;

use super::token::{RANDOM_CHARS, hashed, random_text};

/// A session that has just begun.
#[derive(Debug)]
pub struct NewSession {
    /// The id, for the cookie.
    pub plain: SecretString,
    /// What is stored: SHA-256 in hexadecimal.
    pub hash: String,
}

/// Makes a session id from the operating system's randomness.
///
/// # Errors
///
/// When the operating system has none to give.
pub fn generate() -> Result<NewSession, getrandom::Error> {
    let plain = random_text()?;
    Ok(NewSession {
        hash: hashed(&plain),
        plain: plain.as_str().into(),
    })
}

/// The hash to look a session up by, or `None` for what cannot be a session id.
#[must_use]
pub fn parse_and_hash(text: &str) -> Option<String> {
    let valid = text.len() == RANDOM_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    valid.then(|| hashed(text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn stored_hash_is_found_again() {
        let session = generate().unwrap();
        let plain = session.plain.expose_secret();
        assert_eq!(plain.len(), 43);
        assert_eq!(session.hash.len(), 64);
        assert_eq!(parse_and_hash(plain), Some(session.hash.clone()));
        assert!(!session.hash.contains(&plain[..8]));
    }

    #[test]
    fn other_texts_are_no_session_ids() {
        let session = generate().unwrap();
        let plain = session.plain.expose_secret();
        let longer = format!("{plain}0");
        let odd = format!("{};", &plain[..42]);
        for other in ["", &plain[..42], &longer, &odd] {
            assert_eq!(parse_and_hash(other), None, "{other}");
        }
    }

    #[test]
    fn session_ids_differ() {
        let ids: HashSet<String> = (0..1_000).map(|_| generate().unwrap().hash).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
