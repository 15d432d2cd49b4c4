//! What earlier runs of the same deployment have left on the target: a run that was cut off after
//! its work and before its result was written must not do it again.

use std::{fs, path::PathBuf, sync::Arc};

use slipway_core::deployment::run::Assignment;

use super::{Stop, rollout, steps::Steps};
use crate::release::{Begun, Deadline, Identity, Receipt, ReleaseError, Releases};

/// How far earlier runs got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing of theirs counts.
    Nothing,
    /// The release is live; what follows the switch has to be done.
    Live,
    /// Everything was done.
    Done,
}

/// The record of a run on its target.
#[derive(Clone, Debug)]
pub(super) struct Record {
    receipt: Arc<Receipt>,
    fence: i64,
    identity: Identity,
    deadline: Deadline,
}

impl Record {
    /// Notes that everything was done.
    pub(super) async fn complete(&self) -> Result<(), Stop> {
        let (receipt, fence, identity) = (Arc::clone(&self.receipt), self.fence, self.identity);
        let deadline = self.deadline.clone();
        let completed =
            tokio::task::spawn_blocking(move || receipt.complete(fence, identity, &deadline));
        match completed.await {
            Ok(Err(error @ (ReleaseError::StaleFence(_) | ReleaseError::TooLate))) => {
                Err(rollout::explain(&error))
            }
            Ok(Ok(())) => Ok(()),
            // What it had to do is done all the same.
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the end of a run was not recorded on its target");
                Ok(())
            }
            Err(panicked) => {
                tracing::error!(error = ?panicked, "recording the end of a run panicked");
                Ok(())
            }
        }
    }
}

fn place(assignment: &Assignment) -> (PathBuf, String, Identity) {
    let (row, target) = (&assignment.row, &assignment.target);
    // A number alone could be another target's, in a database that was set up anew.
    let name = format!("run-{}-{}", target.id, target.created_at.timestamp_micros());
    let identity = Identity {
        deployment: row.id.0,
        born: row.created_at.timestamp_micros(),
    };
    (PathBuf::from(&target.path), name, identity)
}

/// Looks at the target before anything is fetched or built, and changes nothing.
pub(super) async fn look(steps: &Steps<'_>) -> Result<Standing, Stop> {
    if !steps.assignment.pipeline.needs_checkout() {
        return Ok(Standing::Nothing);
    }
    let (folder, name, identity) = place(steps.assignment);
    let deadline = steps.deadline();
    rollout::blocking(move || {
        let Some(receipt) = Receipt::find(&folder, &name)? else {
            return Ok(Standing::Nothing);
        };
        Ok(match receipt.look(identity)? {
            Begun::First => Standing::Nothing,
            Begun::Done => Standing::Done,
            Begun::Again => {
                let live =
                    Releases::open(&folder, deadline)?.active()? == Some(identity.deployment);
                if live {
                    Standing::Live
                } else {
                    Standing::Nothing
                }
            }
        })
    })
    .await
}

/// Shows the target the run's fence, before anything happens there. A folder that cannot keep the
/// record is no reason to refuse commands that do not need it.
pub(super) async fn enter(steps: &mut Steps<'_>) -> Result<Begun, Stop> {
    let (folder, name, identity) = place(steps.assignment);
    let fence = steps.assignment.row.fence;
    let is_shipped = steps.assignment.pipeline.needs_checkout();
    let entered = tokio::task::spawn_blocking(move || {
        // Commands need the folder itself, whatever can be kept in it.
        if !is_shipped {
            let made = fs::create_dir_all(&folder);
            made.map_err(|error| rollout::unusable(format!("{}: {error}", folder.display())))?;
        }
        let receipt = Receipt::open(&folder, &name);
        Ok::<_, Stop>(receipt.and_then(|receipt| {
            let begun = receipt.begin(fence, identity)?;
            Ok((receipt, begun))
        }))
    });
    let entered = entered.await.unwrap_or_else(|panicked| {
        let error = std::io::Error::other(panicked);
        Ok(Err(ReleaseError::io("recording a run")(error)))
    })?;
    match entered {
        Ok((receipt, begun)) => {
            steps.record = Some(Record {
                receipt: Arc::new(receipt),
                fence,
                identity,
                deadline: steps.deadline(),
            });
            Ok(begun)
        }
        Err(error @ ReleaseError::Io { .. }) if !is_shipped => {
            let text = format!(
                "Nothing can be recorded in the target's folder ({error}): if the worker is lost \
                 at the very end, the steps are run once more."
            );
            steps.journal.note(&text).await;
            Ok(Begun::First)
        }
        Err(error) => Err(rollout::explain(&error)),
    }
}

/// Ends a run whose work was done by an earlier one.
pub(super) async fn conclude(steps: &mut Steps<'_>) -> Result<(), Stop> {
    let text = "Everything was done by an earlier run, which was lost before it could say so.";
    steps.journal.note(text).await;
    steps.skip_rest().await?;
    if steps.assignment.pipeline.needs_checkout() {
        rollout::record_live(steps, steps.assignment.row.commit_id.as_deref()).await?;
    }
    Ok(())
}
