//! What binds the steps of a sign-in to one browser.

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What binds the steps of one sign-in: all of it comes of a secret that only the browser keeps.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: SecretString,
}

impl Bound {
    pub(super) fn of(secret: &str) -> Self {
        let derived = |purpose: &str| hex::encode(Sha256::digest(format!("{purpose} {secret}")));
        Self {
            state: derived("state"),
            nonce: derived("nonce"),
            verifier: derived("verifier").into(),
        }
    }
}

/// Whether the provider has sent this browser back.
#[must_use]
pub fn is_state_of(secret: &str, state: &str) -> bool {
    let expected = Bound::of(secret).state;
    expected.as_bytes().ct_eq(state.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_binds_the_steps_comes_of_the_browsers_secret_alone() {
        let (one, other) = (Bound::of("a"), Bound::of("b"));
        assert!(is_state_of("a", &one.state));
        assert!(!is_state_of("a", &other.state) && !is_state_of("a", ""));
        assert_ne!(one.state, one.nonce);
        let verifier = one.verifier.expose_secret();
        assert_ne!(verifier, one.nonce);
        // RFC 7636 asks for 43 to 128 characters.
        assert_eq!(verifier.len(), 64);
    }
}
