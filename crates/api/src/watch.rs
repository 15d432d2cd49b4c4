//! Ends live streams when what they rest on changes: the session or token, the account, its role or
//! its memberships. One look at the database for all streams of this process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use slipway_core::{
    access::{Actor, Credential},
    account::standing,
    ctx::Ctx,
    db,
    error::{Error, Result},
};
use tokio_util::sync::CancellationToken;

/// How often is looked: with the time that a look takes, streams end within a second.
const LOOK: Duration = Duration::from_millis(400);

/// The streams that somebody follows right now.
#[derive(Clone, Debug)]
pub struct Watch {
    ctx: Ctx,
    open: Arc<Mutex<HashMap<Credential, Watched>>>,
    begun: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Watched {
    /// Tells it from an earlier watch over the same credential.
    number: u64,
    /// What it was worth when its first stream began.
    standing: String,
    ended: CancellationToken,
    streams: usize,
}

/// One stream; dropping it ends the watch over it.
#[derive(Debug)]
pub struct Watching {
    watch: Watch,
    credential: Credential,
    number: u64,
    ended: CancellationToken,
}

impl Watching {
    /// Ends when the stream has to.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut open = self.watch.open();
        let watched = open.get_mut(&self.credential);
        let Some(watched) = watched.filter(|watched| watched.number == self.number) else {
            return;
        };
        watched.streams -= 1;
        if watched.streams == 0 {
            open.remove(&self.credential);
        }
    }
}

impl Watch {
    /// Begins to look, until `stop`.
    #[must_use]
    pub fn new(ctx: Ctx, stop: &CancellationToken) -> Self {
        let watch = Self {
            ctx,
            open: Arc::default(),
            begun: Arc::default(),
        };
        let looking = watch.clone();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                if let Err(error) = looking.look().await {
                    tracing::warn!(error = ?error, "looking after live streams failed");
                }
            }
        }));
        watch
    }

    /// Watches over a stream. To be called before the stream's own rights are checked, so that no
    /// change falls between the two.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the role has changed already, or when the database fails.
    pub async fn over(&self, actor: &Actor) -> Result<Watching> {
        let credential = actor.credential;
        let worth = standing::of(&self.ctx, &[credential], db::now()).await?;
        let standing = worth.get(&credential).cloned().unwrap_or_default();
        if standing.split(' ').next() != Some(actor.role.as_str()) {
            return Err(Error::Unauthenticated);
        }
        let mut open = self.open();
        let watched = open.entry(credential).or_insert_with(|| Watched {
            number: self.begun.fetch_add(1, Ordering::Relaxed),
            standing,
            ended: CancellationToken::new(),
            streams: 0,
        });
        watched.streams += 1;
        let (number, ended) = (watched.number, watched.ended.clone());
        drop(open);
        Ok(Watching {
            watch: self.clone(),
            credential,
            number,
            ended,
        })
    }

    async fn look(&self) -> Result<()> {
        let credentials: Vec<Credential> = self.open().keys().copied().collect();
        if credentials.is_empty() {
            return Ok(());
        }
        let worth = standing::of(&self.ctx, &credentials, db::now()).await?;
        let mut open = self.open();
        for credential in credentials {
            let Some(watched) = open.get(&credential) else {
                continue;
            };
            let now = worth.get(&credential);
            if now != Some(&watched.standing) {
                watched.ended.cancel();
                open.remove(&credential);
            }
        }
        Ok(())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Credential, Watched>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
