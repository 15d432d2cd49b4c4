//! Writing entries, and the key that proves them.
//!
//! The key is random, made once for a database, and kept in it encrypted by the vault: whoever has
//! only the database can make no proof. It is not for people, so there is no actor: system-only.

use std::sync::Arc;

use sea_orm::{ActiveValue::Set, ConnectionTrait};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::{
    entity::{Model, chain},
    entry::Entry,
    proof::{Head, Key},
    store,
};
use crate::{
    db::{Db, is_duplicate},
    error::{Error, Result},
    id::{AuditId, ProjectId},
    vault::{
        cipher::{Binding, Sealed},
        ring::KeyRing,
    },
};

/// The only row of `audit_chain`.
pub(super) const CHAIN: i64 = 1;
const KEY_BINDING: Binding<'static> = Binding {
    purpose: "slipway/audit/key/v1",
    project: ProjectId(0),
    scope: 0,
    row: CHAIN,
    name: "audit",
};
const NONCE_BYTES: usize = 16;

/// The audit trail of one database. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Trail {
    db: Db,
    keys: Arc<KeyRing>,
    key: Arc<OnceCell<Key>>,
}

impl Trail {
    /// The trail; its key is read or made when it is first needed.
    #[must_use]
    pub fn new(db: &Db, keys: &Arc<KeyRing>) -> Self {
        Self {
            db: db.clone(),
            keys: Arc::clone(keys),
            key: Arc::default(),
        }
    }

    /// Reads the key, or makes it, so that recording asks the database for nothing more; and
    /// encrypts it anew when another master key has become the active one. Not to be called within
    /// a transaction.
    ///
    /// # Errors
    /// When the key cannot be decrypted, or the database fails.
    pub async fn prepare(&self) -> Result<()> {
        if self.key.initialized() {
            return Ok(());
        }
        if store::chain(self.db.reader()).await?.is_none() {
            match store::insert_chain(self.db.writer(), self.fresh()?.0).await {
                Err(error) if is_duplicate(&error) => {}
                made => made?,
            }
        }
        let row = store::chain(self.db.writer()).await?;
        let row = row.ok_or_else(|| crate::db::broken("the audit trail has no key"))?;
        let plain = self.opened(&row)?;
        if row.key_version != i64::from(self.keys.active_version()) {
            let sealed = self.keys.seal(&KEY_BINDING, &plain).map_err(altered)?;
            store::replace_key(self.db.writer(), row.key_version, &sealed).await?;
        }
        let key = Key::new(&plain)?;
        self.key.get_or_init(|| async { key }).await;
        Ok(())
    }

    /// Records one entry in the transaction of its change.
    ///
    /// # Errors
    /// When the database fails; then the change must not be committed.
    pub async fn record(&self, tx: &impl ConnectionTrait, entry: &Entry) -> Result<()> {
        self.record_all(tx, std::slice::from_ref(entry)).await
    }

    /// Records several entries with one statement, and without asking for anything once
    /// [`Self::prepare`] was called.
    ///
    /// # Errors
    /// When the database fails; then the changes must not be committed.
    pub async fn record_all(&self, tx: &impl ConnectionTrait, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let key = self.key_within(tx).await?;
        let mut nonces = Zeroizing::new(vec![0_u8; entries.len() * NONCE_BYTES]);
        getrandom::fill(&mut nonces)?;
        let rows: Vec<Model> = entries
            .iter()
            .zip(nonces.chunks_exact(NONCE_BYTES))
            .map(|(entry, nonce)| row(&key, entry, nonce))
            .collect();
        store::insert(tx, rows).await
    }

    /// The key, outside of any transaction.
    pub(super) async fn key(&self) -> Result<Key> {
        self.prepare().await?;
        let key = self.key.get().cloned();
        key.ok_or_else(|| crate::db::broken("the audit trail has no key"))
    }

    /// The key where a transaction is open. One that this very transaction made is not kept: it may
    /// yet be rolled back.
    async fn key_within(&self, tx: &impl ConnectionTrait) -> Result<Key> {
        if let Some(key) = self.key.get() {
            return Ok(key.clone());
        }
        if let Some(row) = store::chain(self.db.reader()).await? {
            let key = Key::new(&self.opened(&row)?)?;
            return Ok(self.key.get_or_init(|| async { key }).await.clone());
        }
        if let Some(row) = store::chain(tx).await? {
            return Key::new(&self.opened(&row)?);
        }
        let (values, key) = self.fresh()?;
        store::insert_chain(tx, values).await?;
        Ok(key)
    }

    fn fresh(&self) -> Result<(chain::ActiveModel, Key)> {
        let mut plain = Zeroizing::new([0_u8; 32]);
        getrandom::fill(plain.as_mut_slice())?;
        let key = Key::new(plain.as_slice())?;
        let sealed = self
            .keys
            .seal(&KEY_BINDING, plain.as_slice())
            .map_err(altered)?;
        let head = serde_json::to_string(&Head::default())?;
        let values = chain::ActiveModel {
            id: Set(CHAIN),
            head_mac: Set(key.of_head(&head).to_vec()),
            head: Set(head),
            algorithm: Set(sealed.alg.as_str().to_owned()),
            key_version: Set(i64::from(sealed.key_version)),
            nonce: Set(sealed.nonce.to_vec()),
            ciphertext: Set(sealed.ciphertext),
        };
        Ok((values, key))
    }

    fn opened(&self, row: &chain::Model) -> Result<Zeroizing<Vec<u8>>> {
        let sealed = (|| {
            Some(Sealed {
                alg: row.algorithm.parse().ok()?,
                key_version: i32::try_from(row.key_version).ok()?,
                nonce: row.nonce.as_slice().try_into().ok()?,
                ciphertext: row.ciphertext.clone(),
            })
        })();
        let sealed = sealed.ok_or_else(|| crate::db::broken("the audit trail's key is damaged"))?;
        let plain = self.keys.open(&KEY_BINDING, &sealed).map_err(altered)?;
        Ok(Zeroizing::new(plain.expose().to_vec()))
    }
}

fn altered(error: crate::vault::cipher::VaultError) -> Error {
    Error::Internal(anyhow::Error::new(error).context("the audit trail's key"))
}

/// Cut to what the columns hold.
fn row(key: &Key, entry: &Entry, nonce: &[u8]) -> Model {
    let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    let mut row = Model {
        id: AuditId(0),
        at: entry.at,
        actor_id: entry.actor_id,
        actor: cut(&entry.actor, 320),
        role: entry.role.to_owned(),
        address: cut(&entry.address, 64),
        credential: entry.credential.to_owned(),
        credential_id: entry.credential_id,
        action: entry.action.as_str().to_owned(),
        object_kind: entry.object_kind.as_str().to_owned(),
        object_id: entry.object_id,
        object: cut(&entry.object, 320),
        project_id: entry.project,
        before: entry.before.clone(),
        after: entry.after.clone(),
        nonce: nonce.to_vec(),
        mac: Vec::new(),
        seal: None,
    };
    row.mac = key.of_entry(&row).to_vec();
    row
}
