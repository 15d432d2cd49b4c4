//! The loaded master keys: the active one encrypts, every one decrypts.
//!
//! Each project has a key of its own, derived from the master key, so that no key ever meets a
//! huge number of values. Re-encrypting rows under another key is not done here.

use std::{collections::BTreeMap, fmt};

use zeroize::Zeroizing;

use super::{
    cipher::{Algorithm, Binding, Sealed, VaultError, decrypt, encrypt, fresh_nonce},
    key::MasterKey,
    value::SecretValue,
};
use crate::id::ProjectId;

const PROJECT_KEY: &[u8] = b"slipway/project-key/v1";
const CHECK_PLAIN: &[u8] = b"slipway";
const CHECK: Binding<'_> = Binding {
    purpose: "slipway/key-check/v1",
    project: ProjectId(0),
    scope: 0,
    row: 0,
    name: "",
};

/// Master keys by version.
pub struct KeyRing {
    active: i32,
    keys: BTreeMap<i32, MasterKey>,
}

impl KeyRing {
    /// A ring that encrypts with `active` and decrypts with the `retired` keys too.
    #[must_use]
    pub fn new(active: (i32, MasterKey), retired: BTreeMap<i32, MasterKey>) -> Self {
        let (version, key) = active;
        let mut keys = retired;
        keys.insert(version, key);
        Self {
            active: version,
            keys,
        }
    }

    /// The version that new values are encrypted with.
    #[must_use]
    pub fn active_version(&self) -> i32 {
        self.active
    }

    /// Every loaded version, rising.
    pub fn versions(&self) -> impl Iterator<Item = i32> {
        self.keys.keys().copied()
    }

    /// Encrypts a value for its place with the active key.
    ///
    /// # Errors
    ///
    /// Only when there is no randomness or the value is larger than 64 GiB.
    pub fn seal(&self, place: &Binding<'_>, plain: &[u8]) -> Result<Sealed, VaultError> {
        self.seal_with(self.active, place, plain)
    }

    /// Decrypts a value that belongs to this place.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when its key is not loaded, `Integrity` when it was changed, or encrypted
    /// for another place or with another key.
    pub fn open(&self, place: &Binding<'_>, sealed: &Sealed) -> Result<SecretValue, VaultError> {
        let Sealed {
            alg: Algorithm::Aes256GcmSiv,
            key_version,
            nonce,
            ciphertext,
        } = sealed;
        let key = self.project_key(*key_version, place.project)?;
        decrypt(
            &key,
            *nonce,
            &place.associated_data(*key_version),
            ciphertext,
        )
    }

    /// A value to keep, by which [`Self::verify_check`] knows the key of this version again.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when the key is not loaded.
    pub fn check_value(&self, version: i32) -> Result<Sealed, VaultError> {
        self.seal_with(version, &CHECK, CHECK_PLAIN)
    }

    /// Whether the loaded key of this version is the one that made the check value.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when no key of this version is loaded, `WrongKey` when it is another.
    pub fn verify_check(&self, version: i32, check: &Sealed) -> Result<(), VaultError> {
        if !self.keys.contains_key(&version) {
            return Err(VaultError::UnknownKeyVersion(version));
        }
        match self.open(&CHECK, check) {
            Ok(plain) if check.key_version == version && plain.expose() == CHECK_PLAIN => Ok(()),
            _ => Err(VaultError::WrongKey(version)),
        }
    }

    fn seal_with(
        &self,
        version: i32,
        place: &Binding<'_>,
        plain: &[u8],
    ) -> Result<Sealed, VaultError> {
        let key = self.project_key(version, place.project)?;
        let nonce = fresh_nonce()?;
        let ciphertext = encrypt(&key, nonce, &place.associated_data(version), plain)?;
        Ok(Sealed {
            alg: Algorithm::Aes256GcmSiv,
            key_version: version,
            nonce,
            ciphertext,
        })
    }

    fn project_key(
        &self,
        version: i32,
        project: ProjectId,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let master = self
            .keys
            .get(&version)
            .ok_or(VaultError::UnknownKeyVersion(version))?;
        master.derive(&[PROJECT_KEY, &project.0.to_be_bytes()])
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<i32> = self.versions().collect();
        f.debug_struct("KeyRing")
            .field("active", &self.active)
            .field("versions", &versions)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::cipher::SECRET_PURPOSE;

    const PLAIN: &[u8] = b"correct horse battery staple";
    const PLACE: Binding<'_> = Binding {
        purpose: SECRET_PURPOSE,
        project: ProjectId(7),
        scope: 3,
        row: 42,
        name: "DB_PASSWORD",
    };

    fn key(seed: u8) -> MasterKey {
        let bytes: Vec<u8> = (0..32_u8)
            .map(|n| n.wrapping_mul(n) ^ seed.wrapping_mul(37))
            .collect();
        MasterKey::parse(&hex::encode(bytes)).unwrap()
    }

    fn ring() -> KeyRing {
        KeyRing::new((2, key(2)), BTreeMap::from([(1, key(1))]))
    }

    fn refused(place: &Binding<'_>, sealed: &Sealed) -> bool {
        matches!(ring().open(place, sealed), Err(VaultError::Integrity))
    }

    #[test]
    fn value_comes_back_in_its_own_place() {
        for plain in [PLAIN, b"", &[0, 255, 10], &vec![b'x'; 100_000]] {
            let sealed = ring().seal(&PLACE, plain).unwrap();
            assert_eq!(sealed.key_version, 2);
            assert_eq!(sealed.ciphertext.len(), plain.len() + 16);
            assert_eq!(ring().open(&PLACE, &sealed).unwrap().expose(), plain);
        }
    }

    #[test]
    fn value_does_not_open_in_any_other_place() {
        let sealed = ring().seal(&PLACE, PLAIN).unwrap();
        for other in [
            Binding {
                purpose: "slipway/other/v1",
                ..PLACE
            },
            Binding {
                project: ProjectId(8),
                ..PLACE
            },
            Binding { scope: 0, ..PLACE },
            Binding { row: 43, ..PLACE },
            Binding {
                name: "DB_PASSWORd",
                ..PLACE
            },
        ] {
            assert!(refused(&other, &sealed), "{other:?}");
        }
    }

    #[test]
    fn value_does_not_open_under_another_version() {
        let sealed = ring().seal(&PLACE, PLAIN).unwrap();
        assert!(refused(
            &PLACE,
            &Sealed {
                key_version: 1,
                ..sealed.clone()
            }
        ));

        let same_key = KeyRing::new((2, key(2)), BTreeMap::from([(1, key(2))]));
        let relabelled = Sealed {
            key_version: 1,
            ..sealed
        };
        assert!(matches!(
            same_key.open(&PLACE, &relabelled),
            Err(VaultError::Integrity)
        ));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let sealed = ring().seal(&PLACE, PLAIN).unwrap();
        for bit in 0..sealed.ciphertext.len() * 8 {
            let mut changed = sealed.clone();
            changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&PLACE, &changed), "bit {bit} of the cipher text");
        }
        for bit in 0..sealed.nonce.len() * 8 {
            let mut changed = sealed.clone();
            changed.nonce[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&PLACE, &changed), "bit {bit} of the nonce");
        }
    }

    #[test]
    fn every_cut_and_extension_is_noticed() {
        let sealed = ring().seal(&PLACE, PLAIN).unwrap();
        for length in 0..sealed.ciphertext.len() {
            let ciphertext = sealed.ciphertext[..length].to_vec();
            assert!(
                refused(
                    &PLACE,
                    &Sealed {
                        ciphertext,
                        ..sealed.clone()
                    }
                ),
                "{length} bytes"
            );
            let ciphertext = sealed.ciphertext[length + 1..].to_vec();
            assert!(
                refused(
                    &PLACE,
                    &Sealed {
                        ciphertext,
                        ..sealed.clone()
                    }
                ),
                "without {length}"
            );
        }
        let ciphertext = [sealed.ciphertext.as_slice(), &[0]].concat();
        assert!(refused(
            &PLACE,
            &Sealed {
                ciphertext,
                ..sealed
            }
        ));
    }

    #[test]
    fn equal_values_look_different_each_time() {
        let (first, second) = (
            ring().seal(&PLACE, PLAIN).unwrap(),
            ring().seal(&PLACE, PLAIN).unwrap(),
        );
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(first.ciphertext, second.ciphertext);
    }

    #[test]
    fn retired_key_decrypts_and_never_encrypts() {
        let former = KeyRing::new((1, key(1)), BTreeMap::new());
        let sealed = former.seal(&PLACE, PLAIN).unwrap();
        assert_eq!(ring().open(&PLACE, &sealed).unwrap().expose(), PLAIN);
        assert_eq!(ring().seal(&PLACE, PLAIN).unwrap().key_version, 2);
        assert_eq!(ring().versions().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn missing_key_is_told_from_a_changed_value() {
        let sealed = Sealed {
            key_version: 9,
            ..ring().seal(&PLACE, PLAIN).unwrap()
        };
        assert!(matches!(
            ring().open(&PLACE, &sealed),
            Err(VaultError::UnknownKeyVersion(9))
        ));
    }

    #[test]
    fn wrong_key_is_recognised_by_its_check_value() {
        let check = ring().check_value(1).unwrap();
        ring().verify_check(1, &check).unwrap();

        let other = KeyRing::new((1, key(3)), BTreeMap::new());
        assert!(matches!(
            other.verify_check(1, &check),
            Err(VaultError::WrongKey(1))
        ));
        assert!(matches!(
            ring().verify_check(2, &check),
            Err(VaultError::WrongKey(2))
        ));
        assert!(matches!(
            ring().verify_check(5, &check),
            Err(VaultError::UnknownKeyVersion(5))
        ));
        assert!(matches!(
            ring().check_value(5),
            Err(VaultError::UnknownKeyVersion(5))
        ));
    }

    #[test]
    fn errors_and_debug_output_hold_no_plain_text() {
        let mut sealed = ring().seal(&PLACE, PLAIN).unwrap();
        sealed.ciphertext[0] ^= 1;
        let error = ring().open(&PLACE, &sealed).unwrap_err();
        let shown = format!("{error} {error:?} {:?} {sealed:?}", ring());
        assert!(!shown.contains("horse"), "{shown}");
        assert!(
            shown.contains("KeyRing { active: 2, versions: [1, 2] }"),
            "{shown}"
        );
    }
}
