//! Removes old releases, and what interrupted runs have left.

use super::{ReleaseError, Releases, Ticket, tree};

/// What was removed, and what could not be.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Releases that can no longer be chosen.
    pub removed: Vec<i64>,
    /// What is still on the disk, and why; it is tried again the next time.
    pub failed: Vec<String>,
}

impl Releases {
    /// Keeps the newest `keep` releases, the live one and those in `protect`.
    ///
    /// A file that cannot be removed, because a step has left it to another account, is reported and
    /// no reason to fail.
    ///
    /// # Errors
    /// When the folder cannot be read, or someone newer holds the target.
    pub fn prune(
        &self,
        ticket: &Ticket,
        keep: usize,
        protect: &[i64],
    ) -> Result<Pruned, ReleaseError> {
        let _guard = self.enter(ticket)?;
        let active = self.active()?;
        let mut pruned = Pruned::default();
        // A folder with a higher number was not made by a deployment of ours.
        let ours = self
            .list()?
            .into_iter()
            .filter(|&release| release <= ticket.deployment);
        for release in ours.rev().skip(keep) {
            if active != Some(release) && !protect.contains(&release) {
                self.discard(release)?;
                pruned.removed.push(release);
            }
        }
        // Under the lock nobody is shipping, so nobody needs these.
        for name in tree::names(&self.releases).map_err(ReleaseError::io("releases"))? {
            if name.to_str().is_some_and(is_leftover)
                && let Err(error) = tree::remove(&self.releases, &name)
            {
                pruned
                    .failed
                    .push(format!("releases/{}: {error}", name.to_string_lossy()));
            }
        }
        Ok(pruned)
    }

    /// Takes a release out of the list in one step; its files go afterwards, as far as they can.
    pub(super) fn discard(&self, release: i64) -> Result<(), ReleaseError> {
        let name = release.to_string();
        let context = || ReleaseError::io(format!("releases/{name}"));
        if tree::kind(&self.releases, name.as_ref())
            .map_err(context())?
            .is_none()
        {
            return Ok(());
        }
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(ReleaseError::io(&name))?;
        let stale = format!("{name}.stale-{}", hex::encode(random));
        self.releases
            .rename(&name, &self.releases, &stale)
            .map_err(context())?;
        if let Err(error) = tree::remove(&self.releases, stale.as_ref()) {
            tracing::warn!(%error, release, "an old release cannot be removed completely");
        }
        Ok(())
    }
}

/// A release that never got its name, or no longer has it.
fn is_leftover(name: &str) -> bool {
    name.split_once('.').is_some_and(|(id, rest)| {
        id.parse::<i64>().is_ok() && (rest == "partial" || rest.starts_with("stale-"))
    })
}
