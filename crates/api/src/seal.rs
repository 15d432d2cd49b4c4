//! Values that we hand out and want back unaltered: list cursors and form tokens.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};

use sha2::Sha256;
use slipway_core::{access::Credential, error::Error, vault::key::SessionSecret};
use subtle::ConstantTimeEq as _;

/// The key that such values carry a proof of.
#[derive(Clone)]
pub struct Seal(Hmac<Sha256>);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal([REDACTED])")
    }
}

impl Seal {
    /// Takes the configured secret.
    ///
    /// # Errors
    /// When the secret cannot be a key.
    pub fn new(secret: &SessionSecret) -> anyhow::Result<Self> {
        Ok(Self(Hmac::new_from_slice(secret.expose())?))
    }

    fn proof(&self, purpose: &str, value: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        let bytes = mac.finalize().into_bytes();
        hex::encode(bytes.get(..16).unwrap_or(&bytes))
    }

    fn holds(&self, purpose: &str, value: &str, proof: &str) -> bool {
        self.proof(purpose, value)
            .as_bytes()
            .ct_eq(proof.as_bytes())
            .into()
    }

    /// A cursor that continues a list after (or before) this id.
    #[must_use]
    pub fn cursor(&self, list: &str, id: i64) -> String {
        format!("{id}-{}", self.proof(list, &id.to_string()))
    }

    /// Where a list goes on: after the item that the cursor names, or from its beginning when none
    /// is given.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not a cursor of this list.
    pub fn start(&self, list: &str, cursor: Option<&str>) -> Result<Option<i64>, Error> {
        cursor
            .map(|cursor| self.read_cursor(list, cursor))
            .transpose()
    }

    /// Reads a cursor of the same list back.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not one of ours.
    fn read_cursor(&self, list: &str, cursor: &str) -> Result<i64, Error> {
        let parsed = cursor
            .split_once('-')
            .filter(|(id, proof)| self.holds(list, id, proof))
            .and_then(|(id, _)| id.parse().ok());
        parsed.ok_or_else(|| Error::invalid("cursor", "is not a cursor of this list"))
    }

    /// The token that every form of this sign-in carries.
    #[must_use]
    pub fn form_token(&self, credential: Credential) -> String {
        self.proof("form", &format!("{credential:?}"))
    }

    /// Whether a form came from a page that we made for this sign-in.
    #[must_use]
    pub fn is_form_token(&self, credential: Credential, token: &str) -> bool {
        self.holds("form", &format!("{credential:?}"), token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_core::id::SessionId;

    fn made() -> Seal {
        Seal::new(&SessionSecret::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_cursor_is_read_back_only_by_its_own_list() {
        let seal = made();
        let cursor = seal.cursor("projects", 42);
        assert_eq!(seal.read_cursor("projects", &cursor).unwrap(), 42);
        assert!(seal.read_cursor("deployments", &cursor).is_err());
        assert!(
            seal.read_cursor("projects", &cursor.replace("42", "41"))
                .is_err()
        );
        assert!(seal.read_cursor("projects", "42").is_err());
        let other = made();
        assert!(other.read_cursor("projects", &cursor).is_err());
    }

    #[test]
    fn a_form_token_belongs_to_one_session() {
        let mine = Credential::Session(SessionId(1));
        let seal = made();
        let token = seal.form_token(mine);
        assert!(seal.is_form_token(mine, &token));
        assert!(!seal.is_form_token(Credential::Session(SessionId(2)), &token));
        assert!(!seal.is_form_token(mine, ""));
    }
}
