//! What the writers of a run's log share: the lines that are not stored yet, what must be masked in
//! them, and how they get to the database.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use slipway_core::{
    ctx::Ctx,
    deployment::{
        line::Source,
        store::log::{Chunk, last_line},
    },
    error::Result,
    id::{DeploymentId, StepId},
    ports::Event,
    telemetry::{self, Known},
};
use slipway_redact::Matcher;
use tokio::sync::Mutex;

use super::{
    super::{masks::Masks, persist::persist},
    now_us,
};
use crate::{lease::Signals, output::LogText};

/// A chunk of this size is stored at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// A chunk of this many lines is stored at once.
const CHUNK_LINES: i64 = 4000;
/// Lines wait at most this long before they are stored.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// An unfinished line is shown after a pause of this length, as a prompt or a progress bar is.
const PARTIAL_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Shared {
    pub(super) ctx: Ctx,
    pub(super) deployment: DeploymentId,
    pub(super) fence: i64,
    pub(super) signals: Signals,
    pub(super) secrets: RwLock<Secrets>,
    pub(super) state: Mutex<State>,
}

/// What must not be seen, in this log and in the worker's own.
pub(super) struct Secrets {
    pub(super) matcher: Arc<Matcher>,
    _known: Known,
}

impl Secrets {
    pub(super) fn new(matcher: Matcher) -> Self {
        let matcher = Arc::new(matcher);
        Self {
            _known: telemetry::know(Arc::clone(&matcher)),
            matcher,
        }
    }
}

pub(super) struct State {
    /// Full and on its way to the database. It stays here until it has arrived: whoever stores it
    /// may be dropped on the way, as the sink of a step that is stopped.
    pub(super) leaving: Option<Chunk>,
    pub(super) chunk: Chunk,
    pub(super) bytes_left: u64,
    pub(super) stream: Option<Stream>,
    /// None until a step may want something masked.
    pub(super) masks: Option<Masks>,
}

/// The output of the step that runs now.
pub(super) struct Stream {
    pub(super) text: LogText,
    pub(super) step: StepId,
    pub(super) last_write: Instant,
}

impl Shared {
    pub(super) fn matcher(&self) -> Arc<Matcher> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&secrets.matcher)
    }

    /// Masks from here on what steps have asked to be masked. Has to come before output is looked
    /// at, and before it is stored.
    pub(super) fn learn(&self, state: &mut State) {
        let values = state.masks.as_mut().map(Masks::take).unwrap_or_default();
        if values.is_empty() {
            return;
        }
        let short = values
            .iter()
            .any(|value| !slipway_redact::can_be_masked(value));
        if short {
            let text = format!(
                "A value that a step wants masked has fewer than {} bytes and is not.",
                slipway_redact::VALUE_MIN_BYTES
            );
            Self::remark(state, &text);
        }
        let values = values.iter().map(|value| value.as_slice());
        match self.matcher().with(values) {
            Ok(matcher) => {
                let secrets = Secrets::new(matcher);
                if let Some(stream) = &mut state.stream {
                    stream.text.extend(&secrets.matcher);
                }
                *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
            }
            Err(_) if state.bytes_left == 0 => {}
            Err(error) => {
                state.bytes_left = 0;
                let text = format!("What follows is not kept: {error}.");
                Self::remark(state, &text);
            }
        }
    }

    /// A line of our own about what a step does.
    fn remark(state: &mut State, text: &str) {
        state.chunk.push(Source::Slipway, now_us(), text);
    }

    pub(super) async fn flush_now_and_then(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            let mut state = self.state.lock().await;
            self.learn(&mut state);
            let mut lines = Vec::new();
            let paused = state
                .stream
                .as_mut()
                .filter(|stream| stream.last_write.elapsed() >= PARTIAL_AFTER);
            if let Some(stream) = paused {
                stream.text.flush(&mut lines);
                let step = stream.step;
                self.add(&mut state, Some(step), Source::Output, &lines)
                    .await;
            }
            self.flush(&mut state).await;
        }
    }

    pub(super) async fn add(
        &self,
        state: &mut State,
        step: Option<StepId>,
        source: Source,
        lines: &[String],
    ) {
        if state.chunk.step != step && !lines.is_empty() {
            self.flush(state).await;
            state.chunk.step = step;
        }
        for line in lines {
            if state.bytes_left == 0 && source == Source::Output {
                continue;
            }
            let now = now_us();
            if state.chunk.lines() == 0 {
                state.chunk.written_at = now;
            }
            state.chunk.push(source, now, line);
            let used = line.len() as u64 + 1;
            if source == Source::Output && state.bytes_left <= used {
                let text = "The log has reached its limit; what follows is not kept.";
                state.chunk.push(Source::Slipway, now, text);
                state.bytes_left = 0;
            } else if source == Source::Output {
                state.bytes_left -= used;
            }
        }
        // Only now, when all of them are safe: a writer that waits may be dropped.
        if state.chunk.size_bytes() >= CHUNK_BYTES || state.chunk.lines() >= CHUNK_LINES {
            self.flush(state).await;
        }
    }

    /// Stores what there is. While the database is away the step waits here, until the lease is
    /// given up; nothing is dropped before that.
    pub(super) async fn flush(&self, state: &mut State) {
        loop {
            if let Some(full) = &state.leaving {
                self.store(full).await;
                state.leaving = None;
            }
            if state.chunk.lines() == 0 {
                return;
            }
            state.leaving = self.take(state);
        }
    }

    /// The lines that have come together, if there are any; others follow them.
    pub(super) fn take(&self, state: &mut State) -> Option<Chunk> {
        if state.chunk.lines() == 0 {
            return None;
        }
        let next = Chunk::new(
            self.deployment,
            self.fence,
            state.chunk.step,
            state.chunk.last() + 1,
            now_us(),
        );
        Some(std::mem::replace(&mut state.chunk, next))
    }

    pub(super) async fn end_stream(&self, state: &mut State) {
        self.learn(state);
        if let Some(mut stream) = state.stream.take() {
            let mut lines = Vec::new();
            stream.text.finish(&mut lines);
            self.add(state, Some(stream.step), Source::Output, &lines)
                .await;
        }
    }

    /// Comes back when the chunk is stored, or the run is lost.
    async fn store(&self, chunk: &Chunk) {
        let lost = &self.signals.lost;
        let stored = persist(self.ctx.settings.queue.lease(), lost, || self.append(chunk)).await;
        match stored {
            Ok(true) => {
                let event = Event::Log(self.deployment, chunk.last());
                self.ctx.bus.publish(event).await;
            }
            // Another run is the current one. Or no attempt will ever work; then the lease has to
            // run out, since without its log nobody can say what this run did.
            Ok(false) | Err(_) => lost.cancel(),
        }
    }

    async fn append(&self, chunk: &Chunk) -> Result<bool> {
        match self.ctx.batches.chunks.ask(chunk.clone()).await {
            // The chunk may have arrived and only the answer not.
            Err(error) => match last_line(self.ctx.db.writer(), self.deployment).await {
                Ok(last) if last >= chunk.last() => Ok(true),
                _ => Err(error),
            },
            appended => appended,
        }
    }
}
