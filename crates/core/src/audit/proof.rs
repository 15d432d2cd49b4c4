//! The key of the trail and what it proves: an entry's content, a link of the chain, the chain's
//! ends. Pure; where the key is kept is `trail`'s concern.

use std::fmt;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::entity::Model;
use crate::{error::Result, id::AuditId};

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;
/// A member of a link: an entry's id and its proof.
pub(super) const MEMBER_BYTES: usize = 8 + PROOF_BYTES;

/// A proof that only the holder of the key makes.
pub(super) type Proof = [u8; PROOF_BYTES];

/// The key of the trail.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([REDACTED])")
    }
}

/// How far the chain goes, and where what is left of it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the newest link; 0 before the first.
    pub seal: i64,
    /// Its hash in hexadecimal.
    pub hash: String,
    /// Entries sealed since the beginning.
    pub entries: u64,
    /// The newest link that retention removed; 0 when none was.
    pub pruned_seal: i64,
    /// Its hash in hexadecimal.
    pub pruned_hash: String,
    /// Entries that retention removed.
    pub pruned_entries: u64,
}

impl Key {
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        let mac = Hmac::new_from_slice(bytes).map_err(anyhow::Error::new)?;
        Ok(Self(mac))
    }

    /// Every part behind its length, so that no two contents read the same.
    fn prove(&self, purpose: &str, parts: &[&[u8]]) -> Proof {
        let mut mac = self.0.clone();
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// What proves an entry's content. Its id is not in it: the database gives it later, and the
    /// link that the entry is sealed into holds it.
    pub(super) fn of_entry(&self, row: &Model) -> Proof {
        // An id has eight bytes and no JSON text is empty, so that nothing stands for none.
        let id = |id: Option<i64>| id.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec());
        let state = |state: &Option<String>| state.clone().unwrap_or_default().into_bytes();
        self.prove(
            "slipway/audit/entry/v1",
            &[
                &row.at.timestamp_micros().to_be_bytes(),
                &id(row.actor_id.map(|id| id.0)),
                row.actor.as_bytes(),
                row.role.as_bytes(),
                row.address.as_bytes(),
                row.credential.as_bytes(),
                &id(row.credential_id),
                row.action.as_bytes(),
                row.object_kind.as_bytes(),
                &id(row.object_id),
                row.object.as_bytes(),
                &id(row.project_id.map(|id| id.0)),
                &state(&row.before),
                &state(&row.after),
                &row.nonce,
            ],
        )
    }

    /// What proves a link: its number, the link before it, and its members in order.
    pub(super) fn of_seal(
        &self,
        number: i64,
        previous: &str,
        at: DateTime<Utc>,
        members: &[u8],
    ) -> Proof {
        self.prove(
            "slipway/audit/seal/v1",
            &[
                &number.to_be_bytes(),
                previous.as_bytes(),
                &at.timestamp_micros().to_be_bytes(),
                members,
            ],
        )
    }

    pub(super) fn of_head(&self, head: &str) -> Proof {
        self.prove("slipway/audit/head/v1", &[head.as_bytes()])
    }
}

/// Whether two proofs are the same; takes as long either way.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// An entry as a member of a link.
pub(super) fn member(id: AuditId, mac: &[u8]) -> [u8; MEMBER_BYTES] {
    let mut bytes = [0; MEMBER_BYTES];
    let (number, proof) = bytes.split_at_mut(8);
    number.copy_from_slice(&id.0.to_be_bytes());
    if mac.len() == PROOF_BYTES {
        proof.copy_from_slice(mac);
    }
    bytes
}

/// The members of a link, as far as they can be read.
pub(super) fn members(bytes: &[u8]) -> impl Iterator<Item = (AuditId, &[u8])> {
    bytes.chunks_exact(MEMBER_BYTES).filter_map(|member| {
        let (number, proof) = member.split_at_checked(8)?;
        Some((AuditId(i64::from_be_bytes(number.try_into().ok()?)), proof))
    })
}
