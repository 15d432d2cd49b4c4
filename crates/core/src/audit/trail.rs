//! Writing entries, and the key that proves them.
//!
//! The key is random, made once for a database, and kept in it encrypted by the vault: whoever has
//! only the database can make no proof. It is not for people, so there is no actor: system-only.

use std::sync::Arc;

use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, Statement};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::{
    entity::{Model, chain},
    entry::Entry,
    proof::{Head, Key},
    store,
};
use crate::{
    db::{Db, broken, is_duplicate},
    error::Result,
    id::AuditId,
    vault::{
        ring::KeyRing,
        sealed::{self, Place},
    },
};

/// The only row of `audit_chain`.
pub(super) const CHAIN: i64 = 1;
const KEY: Place<'static> = Place {
    purpose: sealed::AUDIT_KEY,
    project: None,
    scope: 0,
    owner: CHAIN,
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

    /// Reads the key, or makes it, so that recording asks the database for nothing more. Not to be
    /// called within a transaction.
    ///
    /// # Errors
    /// When the key cannot be decrypted, or the database fails.
    pub async fn prepare(&self) -> Result<()> {
        if self.key.initialized() {
            return Ok(());
        }
        if store::chain(self.db.reader()).await?.is_none() {
            let tx = self.db.begin().await?;
            match self.make(&tx).await? {
                Some(_) => tx.commit().await?,
                // Another process was first.
                None => drop(tx),
            }
        }
        let key = self.kept(self.db.writer()).await?;
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
        let rows = rows(&self.key_within(tx).await?, entries)?;
        store::insert(tx, rows).await
    }

    /// The statements that record several entries, for a transaction whose statements leave together.
    ///
    /// # Errors
    /// When [`Self::prepare`] was not called, or there is no randomness.
    pub fn insertions(&self, backend: DbBackend, entries: &[Entry]) -> Result<Vec<Statement>> {
        let key = self.key.get();
        let key = key.ok_or_else(|| broken("the audit trail has no key yet"))?;
        Ok(store::insertions(backend, rows(key, entries)?))
    }

    /// The key, outside of any transaction.
    pub(super) async fn key(&self) -> Result<Key> {
        self.prepare().await?;
        let key = self.key.get().cloned();
        key.ok_or_else(|| broken("the audit trail has no key"))
    }

    /// The key where a transaction is open, asked of nothing but the transaction. It is not kept: this
    /// very transaction may have made it, and may yet be rolled back.
    async fn key_within(&self, tx: &impl ConnectionTrait) -> Result<Key> {
        if let Some(key) = self.key.get() {
            return Ok(key.clone());
        }
        if store::chain(tx).await?.is_some() {
            return self.kept(tx).await;
        }
        let made = self.make(tx).await?;
        made.ok_or_else(|| broken("another process made the audit trail's key at this moment"))
    }

    /// Makes key and chain; nothing when another transaction has just done so.
    async fn make(&self, tx: &impl ConnectionTrait) -> Result<Option<Key>> {
        let mut plain = Zeroizing::new([0_u8; 32]);
        getrandom::fill(plain.as_mut_slice())?;
        let key = Key::new(plain.as_slice())?;
        let head = serde_json::to_string(&Head::default())?;
        let values = chain::ActiveModel {
            id: Set(CHAIN),
            head_mac: Set(key.of_head(&head).to_vec()),
            head: Set(head),
        };
        match store::insert_chain(tx, values).await {
            Err(error) if is_duplicate(&error) => return Ok(None),
            made => made?,
        }
        let input = sealed::Input {
            place: KEY,
            version: 1,
            plain: plain.as_slice(),
            by: None,
        };
        sealed::put(tx, &self.keys, input, crate::db::now()).await?;
        Ok(Some(key))
    }

    async fn kept(&self, conn: &impl ConnectionTrait) -> Result<Key> {
        let plain = sealed::latest(conn, &self.keys, &KEY).await?;
        let plain = plain.ok_or_else(|| broken("the audit trail has no key"))?;
        Key::new(plain.expose())
    }
}

fn rows(key: &Key, entries: &[Entry]) -> Result<Vec<Model>> {
    let mut nonces = Zeroizing::new(vec![0_u8; entries.len() * NONCE_BYTES]);
    getrandom::fill(&mut nonces)?;
    let each = entries.iter().zip(nonces.chunks_exact(NONCE_BYTES));
    Ok(each.map(|(entry, nonce)| row(key, entry, nonce)).collect())
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
