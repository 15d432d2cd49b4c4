//! Proving the trail: every entry, every link, both ends of the chain.
//!
//! For whoever holds the machine, on its command line: system-only.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use super::{
    entity::{Model, seal},
    proof::{Head, Key, Proof, is_same, members},
    seal as sealing, store,
};
use crate::{ctx::Ctx, db::broken, error::Result, id::AuditId};

/// Links that are read at once.
const LINKS: u64 = 10;
/// How often to begin anew because retention removed links meanwhile.
const TRIES: usize = 5;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The content of an entry does not match its proof.
    EntryChanged(AuditId),
    /// An entry stands where another one was sealed.
    EntryReplaced(AuditId, i64),
    /// An entry that was sealed is gone.
    EntryMissing(AuditId, i64),
    /// An entry says that it was sealed, and was not.
    EntryAdded(AuditId, i64),
    /// An entry is the copy of another one.
    EntryCopied(AuditId),
    /// A link does not follow from the one before it and its members.
    SealChanged(i64),
    /// A link is gone.
    SealMissing(i64),
    /// The ends of the chain were altered.
    HeadChanged,
    /// The chain is not the one that was noted elsewhere.
    NotAsNoted(i64),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryChanged(id) => write!(f, "entry {id} was edited"),
            Self::EntryReplaced(id, seal) => {
                write!(
                    f,
                    "entry {id} is not the one that seal {seal} holds in its place"
                )
            }
            Self::EntryMissing(id, seal) => write!(f, "entry {id} of seal {seal} was removed"),
            Self::EntryAdded(id, seal) => {
                write!(f, "entry {id} claims seal {seal}, which does not hold it")
            }
            Self::EntryCopied(id) => write!(f, "entry {id} is a copy of another one"),
            Self::SealChanged(seal) => {
                write!(
                    f,
                    "seal {seal} was edited, or does not follow the one before it"
                )
            }
            Self::SealMissing(seal) => write!(f, "seal {seal} was removed"),
            Self::HeadChanged => f.write_str("the chain's ends were edited"),
            Self::NotAsNoted(seal) => write!(f, "seal {seal} is not the one that was noted"),
        }
    }
}

/// What was looked at and found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries that were looked at.
    pub entries: u64,
    /// Those of them that no link holds yet.
    pub unsealed: u64,
    /// Where the chain begins and ends.
    pub head: Head,
    /// What is not as it was written.
    pub findings: Vec<Finding>,
}

/// A link as somebody noted it outside of the database: its number and its hash.
pub type Noted = (i64, String);

/// Seals what waits, and verifies everything.
///
/// # Errors
/// When the key cannot be had or the database fails.
pub async fn run(ctx: &Ctx, noted: Option<&Noted>) -> Result<Report> {
    if let Err(error) = sealing::run_once(ctx).await {
        tracing::warn!(error = ?error, "sealing the audit trail failed");
    }
    let key = ctx.audit.key().await?;
    for _ in 0..TRIES {
        let report = Verification::begin(ctx, &key).await?.run(noted).await?;
        if report.findings.is_empty() || ends(ctx).await?.0.pruned_seal == report.head.pruned_seal {
            return Ok(report);
        }
    }
    Err(broken(
        "old entries are being removed; try again in a while",
    ))
}

async fn ends(ctx: &Ctx) -> Result<(Head, String, Vec<u8>)> {
    let chain = store::chain(ctx.db.reader()).await?;
    let chain = chain.ok_or_else(|| broken("the audit trail has no chain"))?;
    let head = serde_json::from_str(&chain.head).unwrap_or_default();
    Ok((head, chain.head, chain.head_mac))
}

struct Verification<'a> {
    ctx: &'a Ctx,
    key: &'a Key,
    report: Report,
    /// The last link that was looked at, and its hash.
    last: (i64, String),
}

impl<'a> Verification<'a> {
    async fn begin(ctx: &'a Ctx, key: &'a Key) -> Result<Self> {
        let (head, text, mac) = ends(ctx).await?;
        let mut report = Report::default();
        if !is_same(&key.of_head(&text), &mac) {
            report.findings.push(Finding::HeadChanged);
        }
        Ok(Self {
            ctx,
            key,
            last: (head.pruned_seal, head.pruned_hash.clone()),
            report: Report { head, ..report },
        })
    }

    async fn run(mut self, noted: Option<&Noted>) -> Result<Report> {
        let end = self.report.head.seal;
        while self.last.0 < end {
            let links = store::seals(self.ctx.db.reader(), self.last.0, LINKS).await?;
            let links: Vec<_> = links.into_iter().filter(|link| link.id <= end).collect();
            if links.is_empty() {
                break;
            }
            for link in links {
                self.link(&link, noted).await?;
            }
        }
        let missing = (self.last.0 + 1..=end).map(Finding::SealMissing);
        self.report.findings.extend(missing.take(100));
        if self.last.0 == end && self.last.1 != self.report.head.hash {
            self.found(Finding::HeadChanged);
        }
        if let Some((number, _)) = noted
            && !(self.report.head.pruned_seal..=end).contains(number)
        {
            self.found(Finding::NotAsNoted(*number));
        }
        self.outside().await?;
        Ok(self.report)
    }

    fn found(&mut self, finding: Finding) {
        if !self.report.findings.contains(&finding) {
            self.report.findings.push(finding);
        }
    }

    async fn link(&mut self, link: &seal::Model, noted: Option<&Noted>) -> Result<()> {
        for missing in self.last.0 + 1..link.id {
            self.found(Finding::SealMissing(missing));
        }
        let hash = self
            .key
            .of_seal(link.id, &self.last.1, link.at, &link.members);
        if !is_same(&hash, &link.hash) {
            self.found(Finding::SealChanged(link.id));
        }
        // The stored one goes on, so that one edited link is one finding.
        let stored = hex::encode(&link.hash);
        if noted.is_some_and(|(number, hash)| *number == link.id && *hash != stored) {
            self.found(Finding::NotAsNoted(link.id));
        }
        self.members(link).await?;
        self.last = (link.id, stored);
        Ok(())
    }

    async fn members(&mut self, link: &seal::Model) -> Result<()> {
        let sealed: Vec<(AuditId, &[u8])> = members(&link.members).collect();
        let ids: Vec<AuditId> = sealed.iter().map(|(id, _)| *id).collect();
        let rows = store::of_seal(self.ctx.db.reader(), link.id, &ids).await?;
        let rows: HashMap<AuditId, Model> = rows.into_iter().map(|row| (row.id, row)).collect();
        let known: HashSet<AuditId> = ids.into_iter().collect();
        for (id, mac) in sealed {
            let Some(row) = rows.get(&id) else {
                self.found(Finding::EntryMissing(id, link.id));
                continue;
            };
            self.entry(row);
            if !is_same(mac, &row.mac) {
                self.found(Finding::EntryReplaced(id, link.id));
            } else if row.seal != Some(link.id) {
                self.found(Finding::EntryAdded(id, row.seal.unwrap_or_default()));
            }
        }
        let mut strangers: Vec<AuditId> =
            rows.into_keys().filter(|id| !known.contains(id)).collect();
        strangers.sort_unstable();
        for id in strangers {
            self.found(Finding::EntryAdded(id, link.id));
        }
        Ok(())
    }

    fn entry(&mut self, row: &Model) {
        self.report.entries += 1;
        let proof: Proof = self.key.of_entry(row);
        if !is_same(&proof, &row.mac) {
            self.found(Finding::EntryChanged(row.id));
        }
    }

    /// Entries that no link holds.
    async fn outside(&mut self) -> Result<()> {
        let reader = self.ctx.db.reader();
        let mut after = AuditId(0);
        loop {
            let rows = store::unsealed_rows(reader, after, sealing::ENTRIES_MAX).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            self.report.unsealed += rows.len() as u64;
            rows.iter().for_each(|row| self.entry(row));
        }
        let Head {
            seal, pruned_seal, ..
        } = self.report.head;
        for (id, claimed) in store::astray(reader, (pruned_seal + 1, seal)).await? {
            // A link that another process has added since is none of them.
            if claimed <= pruned_seal || ends(self.ctx).await?.0.seal < claimed {
                self.found(Finding::EntryAdded(id, claimed));
            }
        }
        for id in store::copies(reader).await? {
            self.found(Finding::EntryCopied(id));
        }
        Ok(())
    }
}
