//! The guard: a small process beside each worker that kills what the worker has started when the
//! worker cannot, because it is dead, frozen, stuck or cut off from the database.
//!
//! Whatever comes to pass, no command goes on after four fifths of its run's lease without a
//! renewal, or after the worker's end. This side registers runs and commands and replaces a guard
//! that was lost; [`serve`] is the other side. Who may renew a lease is decided elsewhere.

mod process;
mod protocol;
mod supervisor;
mod table;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::Pid;
use tokio::sync::watch;

pub(crate) use process::ALL_DEAD;
pub use process::serve;
use protocol::{Lease, Message, millis, now};
use supervisor::Link;

/// The first argument that makes one of our programs a guard.
pub const ARGUMENT: &str = "guard";

/// How to start a guard: a program that calls [`serve`] with the arguments that follow these.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's own program, even if it was replaced on the disk meanwhile.
    #[must_use]
    pub fn own() -> Self {
        Self::at("/proc/self/exe")
    }

    /// One of our programs.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: vec![ARGUMENT.into()],
        }
    }
}

/// A worker's guard; when the last handle is dropped it kills what is left and ends.
#[derive(Clone, Debug, Default)]
pub struct Guard(Option<Arc<Owner>>);

#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        state.link = None;
    }
}

/// Whether there is a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    /// It was lost and is being replaced.
    Away,
    /// It cannot be replaced for now.
    Missing,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    presence: watch::Sender<Presence>,
    lease: Duration,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Link>,
    commands: BTreeMap<u64, Registered>,
    last_key: u64,
    last_run: u64,
    stopped: bool,
}

#[derive(Debug)]
struct Registered {
    run: Arc<RunState>,
    mark: String,
    group: Option<Pid>,
}

struct RunState {
    id: u64,
    /// When the last successful renewal of its lease was sent.
    renewed: AtomicU64,
    lost: AtomicBool,
    shared: Arc<Shared>,
}

impl fmt::Debug for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunState({})", self.id)
    }
}

impl RunState {
    fn lease(&self) -> Lease {
        Lease {
            run: self.id,
            renewed: self.renewed.load(Ordering::Relaxed),
        }
    }
}

impl Guard {
    /// Starts a guard for leases of this length, and the thread that replaces it when it is lost.
    /// The guard shares the lock on `lock`, an existing file, for as long as it lives.
    ///
    /// # Errors
    /// When the guard does not start.
    pub fn start(program: Program, lease: Duration, lock: Option<&Path>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            presence: watch::Sender::new(Presence::Away),
            lease,
        });
        supervisor::start(&shared, program, lock)?;
        Ok(Self(Some(Arc::new(Owner(shared)))))
    }

    /// No guard, for a process that starts nothing that matters.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// A run whose lease was renewed, or taken, this long ago.
    #[must_use]
    pub fn run(&self, ago: Duration) -> Run {
        Run(self.0.as_ref().map(|owner| {
            let shared = Arc::clone(&owner.0);
            let id = {
                let mut state = shared.lock();
                state.last_run += 1;
                state.last_run
            };
            Arc::new(RunState {
                id,
                renewed: AtomicU64::new(now().saturating_sub(millis(ago))),
                lost: AtomicBool::new(false),
                shared,
            })
        }))
    }

    /// Waits until there is a guard.
    pub async fn ready(&self) {
        self.until(Presence::Here).await;
    }

    /// Waits until a lost guard could not be replaced for some time.
    pub async fn missing(&self) {
        match self.0 {
            Some(_) => self.until(Presence::Missing).await,
            None => std::future::pending().await,
        }
    }

    async fn until(&self, wanted: Presence) {
        if let Some(owner) = &self.0 {
            owner.0.until(wanted).await;
        }
    }

    /// The process id of the present guard.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        let state = self.0.as_ref()?.0.lock();
        state.link.as_ref().map(Link::id)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&self, wanted: Presence) {
        let mut presence = self.presence.subscribe();
        // It cannot fail: the sender is borrowed meanwhile.
        let _seen = presence.wait_for(|seen| *seen == wanted).await;
    }

    /// False when there is no guard that could hear it; the next one is told everything.
    fn tell(&self, state: &mut State, message: &Message) -> bool {
        let told = state.link.as_mut().is_some_and(|link| link.tell(message));
        if !told && !state.stopped {
            self.presence.send_replace(Presence::Away);
        }
        told
    }

    /// Everything that a new guard has to know.
    fn everything(state: &State) -> Vec<Message> {
        let mut messages = Vec::new();
        for (key, command) in &state.commands {
            let lease = command.run.lease();
            messages.push(Message::Begin(*key, lease, command.mark.clone()));
            if let Some(group) = command.group {
                messages.push(Message::Group(*key, group));
            }
            if command.run.lost.load(Ordering::Relaxed) {
                messages.push(Message::Lost(lease.run));
            }
        }
        messages
    }
}

/// One run of a deployment, as the guard sees it. Without a guard it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Run(Option<Arc<RunState>>);

impl Run {
    /// The lease was renewed by something that was sent this long ago.
    pub fn renewed(&self, ago: Duration) {
        let Some(run) = &self.0 else {
            return;
        };
        let mut state = run.shared.lock();
        let renewed = now().saturating_sub(millis(ago));
        run.renewed.store(renewed, Ordering::Relaxed);
        run.shared.tell(&mut state, &Message::Renew(run.lease()));
    }

    /// The lease is another worker's: nothing of the run may go on.
    pub fn lost(&self) {
        let Some(run) = &self.0 else {
            return;
        };
        let mut state = run.shared.lock();
        run.lost.store(true, Ordering::Relaxed);
        run.shared.tell(&mut state, &Message::Lost(run.id));
    }

    /// Whether the guard may have killed it, so that what its commands say is not their own word.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|run| {
            let two_thirds = millis(run.shared.lease * 2 / 3);
            let Lease { renewed, .. } = run.lease();
            run.lost.load(Ordering::Relaxed) || renewed.saturating_add(two_thirds) <= now()
        })
    }

    /// Registers a command that is about to be started; waits until there is a guard.
    pub(crate) async fn begin(&self, mark: &str) -> Watched {
        let Some(run) = &self.0 else {
            return Watched(None);
        };
        loop {
            run.shared.until(Presence::Here).await;
            if let Some(watched) = Self::try_begin(run, mark) {
                return watched;
            }
        }
    }

    fn try_begin(run: &Arc<RunState>, mark: &str) -> Option<Watched> {
        let mut state = run.shared.lock();
        state.last_key += 1;
        let key = state.last_key;
        let begin = Message::Begin(key, run.lease(), mark.to_owned());
        if !run.shared.tell(&mut state, &begin) {
            return None;
        }
        let registered = Registered {
            run: Arc::clone(run),
            mark: mark.to_owned(),
            group: None,
        };
        state.commands.insert(key, registered);
        Some(Watched(Some((Arc::clone(&run.shared), key))))
    }
}

/// A command that the guard knows; dropping it says that the command is over.
#[derive(Debug)]
pub(crate) struct Watched(Option<(Arc<Shared>, u64)>);

impl Watched {
    /// Names the command's process group.
    pub(crate) fn started(&self, group: Pid) {
        if let Some((shared, key)) = &self.0 {
            let mut state = shared.lock();
            if let Some(command) = state.commands.get_mut(key) {
                command.group = Some(group);
            }
            shared.tell(&mut state, &Message::Group(*key, group));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some((shared, key)) = &self.0 {
            let mut state = shared.lock();
            state.commands.remove(key);
            shared.tell(&mut state, &Message::End(*key));
        }
    }
}
