//! Clients that ask for deployments at a steady rate, over many targets.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet, time::MissedTickBehavior};

use super::{
    client::{Accepted, Client},
    record::Design,
    site::Site,
};

/// Requests that wait for an answer at the same time.
const AT_ONCE: usize = 200;

/// How much is asked for, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Deployments in all.
    pub deployments: usize,
    /// Targets that take turns.
    pub targets: usize,
    /// Requests in a second.
    pub rate: f64,
}

/// What was accepted so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    accepted: Arc<Mutex<Vec<Accepted>>>,
    refused: Arc<Mutex<Vec<String>>>,
    number: Arc<AtomicUsize>,
}

impl Accounts {
    /// How many were accepted so far.
    #[must_use]
    pub(crate) fn accepted(&self) -> usize {
        self.number.load(Ordering::SeqCst)
    }

    /// Notes a request that was accepted, or why it never will be.
    pub(crate) fn note(&self, outcome: anyhow::Result<Accepted>) {
        match outcome {
            Ok(accepted) => {
                let mut all = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(accepted);
                self.number.store(all.len(), Ordering::SeqCst);
            }
            Err(error) => {
                let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(format!("{error:#}"));
            }
        }
    }

    /// Everything that was accepted, and the requests that somebody called wrong.
    #[must_use]
    pub(crate) fn take(&self) -> (Vec<Accepted>, Vec<String>) {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        (accepted.clone(), refused.clone())
    }
}

/// The slug of a target.
#[must_use]
pub(crate) fn slug(number: usize) -> String {
    format!("target-{number}")
}

/// Makes the project and its targets.
///
/// # Errors
/// When the API refuses.
pub(crate) async fn set_up(
    client: &Client,
    site: &Site,
    design: Design,
    targets: usize,
) -> anyhow::Result<()> {
    let program = crate::process::built_folder().join("testkit-chaos");
    let pipeline = design.pipeline(&program, &site.folder);
    client
        .set_up("POST", "projects", &json!({"slug": "chaos"}))
        .await?;
    let source = json!({ "source": pipeline });
    client
        .set_up("PUT", "projects/chaos/pipeline", &source)
        .await?;
    for number in 0..targets {
        let path = site.folder.join("targets").join(slug(number));
        let target = json!({"slug": slug(number), "kind": "local", "path": path});
        client
            .set_up("POST", "projects/chaos/targets", &target)
            .await?;
    }
    Ok(())
}

/// Asks for every deployment and waits until all are accepted.
pub(crate) async fn offer(client: &Client, shape: Shape, accounts: &Accounts, bar: &ProgressBar) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut requests = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / shape.rate.max(0.1)));
    // After an outage the load goes on as before; it does not catch up all at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..shape.deployments {
        ticks.tick().await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (client, accounts, bar) = (client.clone(), accounts.clone(), bar.clone());
        requests.spawn(async move {
            let target = slug(number % shape.targets.max(1));
            accounts.note(client.deploy(number, &target).await);
            bar.set_position(accounts.accepted() as u64);
            drop(permit);
        });
        while requests.try_join_next().is_some() {}
    }
    requests.join_all().await;
}
