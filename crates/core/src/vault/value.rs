//! A decrypted secret in memory: it does not print itself and is wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// The plain text of a secret, any bytes.
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes over the plain text.
    #[must_use]
    pub fn new(plain: Vec<u8>) -> Self {
        Self(Zeroizing::new(plain))
    }

    /// The plain text, for the one place that hands it on.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([REDACTED])")
    }
}

impl fmt::Display for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_exposed_only_on_request() {
        let value = SecretValue::new(b"hunter2".to_vec());
        assert_eq!(value.expose(), b"hunter2");
        assert_eq!(
            format!("{value} {value:?} {:?}", Some(&value))
                .matches("hunter2")
                .count(),
            0
        );
        assert_eq!(value.to_string(), "[REDACTED]");
    }
}
