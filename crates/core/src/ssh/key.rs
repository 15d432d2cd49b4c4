//! An Ed25519 key pair: made from randomness, shown as OpenSSH shows it, and what it signs. Pure.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{db::broken, error::Result};

/// The name of the algorithm in the SSH protocol.
pub const ALGORITHM: &str = "ssh-ed25519";
const SEED_BYTES: usize = 32;

/// A private key, with its public half.
pub struct PrivateKey {
    seed: Zeroizing<[u8; SEED_BYTES]>,
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// Makes a pair from the operating system's randomness.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn generate() -> Result<Self> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(seed.as_mut_slice())?;
        Self::of(seed)
    }

    /// Takes the 32 bytes that [`Self::seed`] gave.
    ///
    /// # Errors
    /// When they are not that.
    pub fn from_seed(bytes: &[u8]) -> Result<Self> {
        let seed = bytes.try_into().map_err(anyhow::Error::new)?;
        Self::of(Zeroizing::new(seed))
    }

    fn of(seed: Zeroizing<[u8; SEED_BYTES]>) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .or(Err(broken("the seed of an SSH key is damaged")))?;
        Ok(Self { seed, pair })
    }

    /// What the pair is made from, to be sealed.
    #[must_use]
    pub fn seed(&self) -> &[u8] {
        self.seed.as_slice()
    }

    /// The public half in the form of the SSH protocol.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        [
            string(ALGORITHM.as_bytes()),
            string(self.pair.public_key().as_ref()),
        ]
        .concat()
    }

    /// A signature in the form of the SSH protocol.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(data);
        [string(ALGORITHM.as_bytes()), string(signature.as_ref())].concat()
    }

    /// The public half as it stands in `authorized_keys`.
    #[must_use]
    pub fn authorized(&self, comment: &str) -> String {
        format!("{ALGORITHM} {} {comment}", STANDARD.encode(self.public()))
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey([REDACTED])")
    }
}

/// A text or bytes behind their length, as the SSH protocol has them.
#[must_use]
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// The fingerprint of a public key in the form of the SSH protocol, as `ssh-keygen -l` prints it.
#[must_use]
pub fn fingerprint(public: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pair_is_the_published_one() {
        // RFC 8032, section 7.1, test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = PrivateKey::from_seed(&hex::decode(seed).unwrap()).unwrap();
        let public = key.public();
        assert_eq!(
            hex::encode(&public[19..]),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let signed = key.sign(b"");
        assert_eq!(
            hex::encode(&signed[19..]),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970\
             1cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    #[test]
    fn pairs_differ_and_do_not_print_themselves() {
        let (one, other) = (
            PrivateKey::generate().unwrap(),
            PrivateKey::generate().unwrap(),
        );
        assert_ne!(one.public(), other.public());
        assert_eq!(format!("{one:?}"), "PrivateKey([REDACTED])");
        let again = PrivateKey::from_seed(one.seed()).unwrap();
        assert_eq!(again.authorized("x"), one.authorized("x"));
        assert!(PrivateKey::from_seed(&[1; 31]).is_err());
    }
}
