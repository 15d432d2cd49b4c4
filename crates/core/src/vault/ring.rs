//! The loaded master keys: a value is encrypted with the one that is asked for, and decrypted with
//! the one that it was encrypted with.
//!
//! Each project has a key of its own, derived from the master key, so that no key ever meets a
//! huge number of values. Which key is the active one stands in the database (`rotation`).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

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
    version: 0,
};

/// Master keys by version. Keys can join while it is in use; none ever leaves.
pub struct KeyRing {
    preferred: i32,
    keys: RwLock<BTreeMap<i32, Arc<MasterKey>>>,
}

impl KeyRing {
    /// A ring of these keys. `preferred` is the one that becomes active in a new database.
    #[must_use]
    pub fn new(preferred: (i32, MasterKey), others: BTreeMap<i32, MasterKey>) -> Self {
        let (version, key) = preferred;
        let mut keys: BTreeMap<_, _> = others
            .into_iter()
            .map(|(version, key)| (version, Arc::new(key)))
            .collect();
        keys.insert(version, Arc::new(key));
        Self {
            preferred: version,
            keys: RwLock::new(keys),
        }
    }

    /// The version that becomes active in a new database.
    #[must_use]
    pub fn preferred_version(&self) -> i32 {
        self.preferred
    }

    /// Every loaded version, rising.
    #[must_use]
    pub fn versions(&self) -> Vec<i32> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.keys().copied().collect()
    }

    /// Whether the key of this version is loaded.
    #[must_use]
    pub fn has(&self, version: i32) -> bool {
        self.master(version).is_ok()
    }

    /// Takes one more key; one that is loaded already stays.
    pub fn add(&self, version: i32, key: MasterKey) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.entry(version).or_insert_with(|| Arc::new(key));
    }

    /// Takes the keys of another ring; those that are loaded already stay.
    pub fn adopt(&self, other: Self) {
        let joining = other.keys.into_inner();
        let joining = joining.unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for (version, key) in joining {
            keys.entry(version).or_insert(key);
        }
    }

    /// Encrypts a value for its place with the key of this version.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when the key is not loaded; otherwise only when there is no randomness or
    /// the value is larger than 64 GiB.
    pub fn seal(
        &self,
        version: i32,
        place: &Binding<'_>,
        plain: &[u8],
    ) -> Result<Sealed, VaultError> {
        self.seal_as(Algorithm::Aes256GcmSivVersioned, version, place, plain)
    }

    /// Decrypts a value that belongs to this place.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when its key is not loaded, `Integrity` when it was changed, or encrypted
    /// for another place or with another key.
    pub fn open(&self, place: &Binding<'_>, sealed: &Sealed) -> Result<SecretValue, VaultError> {
        let key = self.project_key(sealed.key_version, place.project)?;
        let associated = place.associated_data(sealed.alg, sealed.key_version);
        decrypt(&key, sealed.nonce, &associated, &sealed.ciphertext)
    }

    /// A value to keep, by which [`Self::verify_check`] knows the key of this version again.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when the key is not loaded.
    pub fn check_value(&self, version: i32) -> Result<Sealed, VaultError> {
        self.seal_as(Algorithm::Aes256GcmSiv, version, &CHECK, CHECK_PLAIN)
    }

    /// Whether the loaded key of this version is the one that made the check value.
    ///
    /// # Errors
    ///
    /// `UnknownKeyVersion` when no key of this version is loaded, `WrongKey` when it is another.
    pub fn verify_check(&self, version: i32, check: &Sealed) -> Result<(), VaultError> {
        self.master(version)?;
        match self.open(&CHECK, check) {
            Ok(plain) if check.key_version == version && plain.expose() == CHECK_PLAIN => Ok(()),
            _ => Err(VaultError::WrongKey(version)),
        }
    }

    fn seal_as(
        &self,
        alg: Algorithm,
        version: i32,
        place: &Binding<'_>,
        plain: &[u8],
    ) -> Result<Sealed, VaultError> {
        let key = self.project_key(version, place.project)?;
        let nonce = fresh_nonce()?;
        let ciphertext = encrypt(&key, nonce, &place.associated_data(alg, version), plain)?;
        Ok(Sealed {
            alg,
            key_version: version,
            nonce,
            ciphertext,
        })
    }

    fn master(&self, version: i32) -> Result<Arc<MasterKey>, VaultError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(&version).map(Arc::clone);
        key.ok_or(VaultError::UnknownKeyVersion(version))
    }

    fn project_key(
        &self,
        version: i32,
        project: ProjectId,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.master(version)?
            .derive(&[PROJECT_KEY, &project.0.to_be_bytes()])
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("preferred", &self.preferred)
            .field("versions", &self.versions())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::sealed::SECRET;

    const PLAIN: &[u8] = b"correct horse battery staple";
    const PLACE: Binding<'_> = Binding {
        purpose: SECRET,
        project: ProjectId(7),
        scope: 3,
        row: 42,
        name: "DB_PASSWORD",
        version: 5,
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
            let sealed = ring().seal(2, &PLACE, plain).unwrap();
            assert_eq!(sealed.key_version, 2);
            assert_eq!(sealed.ciphertext.len(), plain.len() + 16);
            assert_eq!(ring().open(&PLACE, &sealed).unwrap().expose(), plain);
        }
    }

    #[test]
    fn value_does_not_open_in_any_other_place() {
        let sealed = ring().seal(2, &PLACE, PLAIN).unwrap();
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
            Binding {
                version: 4,
                ..PLACE
            },
        ] {
            assert!(refused(&other, &sealed), "{other:?}");
        }
        let relabelled = Sealed {
            alg: Algorithm::Aes256GcmSiv,
            ..sealed
        };
        assert!(refused(&PLACE, &relabelled), "its version was taken off");
    }

    #[test]
    fn value_does_not_open_under_another_version() {
        let sealed = ring().seal(2, &PLACE, PLAIN).unwrap();
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
        let sealed = ring().seal(2, &PLACE, PLAIN).unwrap();
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
        let sealed = ring().seal(2, &PLACE, PLAIN).unwrap();
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
            ring().seal(2, &PLACE, PLAIN).unwrap(),
            ring().seal(2, &PLACE, PLAIN).unwrap(),
        );
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(first.ciphertext, second.ciphertext);
    }

    #[test]
    fn former_key_still_decrypts() {
        let former = KeyRing::new((1, key(1)), BTreeMap::new());
        let sealed = former.seal(1, &PLACE, PLAIN).unwrap();
        assert_eq!(ring().open(&PLACE, &sealed).unwrap().expose(), PLAIN);
        assert_eq!(ring().versions(), [1, 2]);
    }

    #[test]
    fn values_from_before_versions_were_bound_are_still_read() {
        let old = ring()
            .seal_as(Algorithm::Aes256GcmSiv, 1, &PLACE, PLAIN)
            .unwrap();
        assert_eq!(ring().open(&PLACE, &old).unwrap().expose(), PLAIN);
        let relabelled = Sealed {
            alg: Algorithm::Aes256GcmSivVersioned,
            ..old
        };
        assert!(refused(&PLACE, &relabelled));
    }

    #[test]
    fn key_joins_while_the_ring_is_in_use_and_replaces_none() {
        let ring = KeyRing::new((1, key(1)), BTreeMap::new());
        let sealed = ring.seal(1, &PLACE, PLAIN).unwrap();
        ring.add(1, key(9));
        ring.add(2, key(2));
        assert_eq!(ring.open(&PLACE, &sealed).unwrap().expose(), PLAIN);
        assert_eq!(ring.versions(), [1, 2]);
        assert!(ring.has(2) && !ring.has(3));
    }

    #[test]
    fn missing_key_is_told_from_a_changed_value() {
        let sealed = Sealed {
            key_version: 9,
            ..ring().seal(2, &PLACE, PLAIN).unwrap()
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
        let mut sealed = ring().seal(2, &PLACE, PLAIN).unwrap();
        sealed.ciphertext[0] ^= 1;
        let error = ring().open(&PLACE, &sealed).unwrap_err();
        let shown = format!("{error} {error:?} {:?} {sealed:?}", ring());
        assert!(!shown.contains("horse"), "{shown}");
        assert!(
            shown.contains("KeyRing { preferred: 2, versions: [1, 2] }"),
            "{shown}"
        );
    }
}
