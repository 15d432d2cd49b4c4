//! A simulated process: tasks that can be frozen together, and that end together.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

/// One process. Cloning it is another handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    number: u32,
    state: Mutex<State>,
    /// What its tasks died of.
    panics: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    waiting: Vec<Waker>,
    tasks: Vec<Weak<Slot>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Frozen,
    Dead,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
struct Slot(Mutex<Option<Task>>);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

impl Process {
    pub(crate) fn new(name: String, number: u32, panics: Arc<Mutex<Vec<String>>>) -> Self {
        let state = State {
            phase: Phase::Running,
            waiting: Vec::new(),
            tasks: Vec::new(),
        };
        Self(Arc::new(Inner {
            name,
            number,
            state: Mutex::new(state),
            panics,
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Its number, which no other process of the world has or will have.
    pub(crate) fn number(&self) -> u32 {
        self.0.number
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().phase == Phase::Dead
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state().phase == Phase::Running
    }

    /// Runs a task as part of this process.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task: Task = Box::pin(task);
        let slot = Arc::new(Slot(Mutex::new(Some(task))));
        self.state().tasks.push(Arc::downgrade(&slot));
        tokio::spawn(Gated {
            process: self.clone(),
            slot,
        });
    }

    /// Stops everything in it until it is thawed; false if it is not running.
    pub(crate) fn freeze(&self) -> bool {
        let mut state = self.state();
        let running = state.phase == Phase::Running;
        if running {
            state.phase = Phase::Frozen;
        }
        running
    }

    /// Lets everything go on that was stopped.
    pub(crate) fn thaw(&self) {
        let waiting = {
            let mut state = self.state();
            if state.phase == Phase::Frozen {
                state.phase = Phase::Running;
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ends it: every task is dropped where it stands. False if it was dead.
    pub(crate) fn kill(&self) -> bool {
        let tasks = {
            let mut state = self.state();
            if state.phase == Phase::Dead {
                return false;
            }
            state.phase = Phase::Dead;
            state.waiting.clear();
            std::mem::take(&mut state.tasks)
        };
        for task in tasks.iter().filter_map(Weak::upgrade) {
            drop(task.take());
        }
        true
    }

    /// Waits while the process is frozen, for ever when it is dead: whatever it wants from the
    /// world goes through here, tasks that were not started by [`Process::spawn`] included.
    pub(crate) async fn pass(&self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        match state.phase {
            Phase::Running => Poll::Ready(()),
            Phase::Frozen => {
                state.waiting.push(context.waker().clone());
                Poll::Pending
            }
            Phase::Dead => Poll::Pending,
        }
    }
}

impl Slot {
    fn take(&self) -> Option<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, task: Task) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

/// A task that is polled only while its process runs.
struct Gated {
    process: Process,
    slot: Arc<Slot>,
}

impl Future for Gated {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.process.is_dead() {
            return Poll::Ready(());
        }
        if self.process.poll(context).is_pending() {
            return Poll::Pending;
        }
        let Some(mut task) = self.slot.take() else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
            Ok(Poll::Ready(())) => Poll::Ready(()),
            // It may have been killed by what it did.
            Ok(Poll::Pending) if self.process.is_dead() => Poll::Ready(()),
            Ok(Poll::Pending) => {
                self.slot.put(task);
                Poll::Pending
            }
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default();
                let text = format!("a task of {} panicked: {text}", self.process.name());
                let panics = self.process.0.panics.lock();
                panics.unwrap_or_else(PoisonError::into_inner).push(text);
                Poll::Ready(())
            }
        }
    }
}
