//! The log of one run: numbered lines on their way to the database, in order and in bounded memory.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use slipway_core::{
    ctx::Ctx,
    deployment::{
        line::Source,
        reason::{Code, Reason},
        run::Assignment,
        store::log::{Chunk, append, last_line},
    },
    error::Result,
    id::{DeploymentId, StepId},
    ports::Event,
    telemetry::{self, Known},
    vault::value::SecretValue,
};
use slipway_redact::Matcher;
use tokio::{sync::Mutex, task::JoinHandle};

use super::{Stop, Workshop, masks::Masks, persist::persist};
use crate::{exec::Sink, lease::Signals, output::LogText};

/// A chunk of this size is stored at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// A chunk of this many lines is stored at once.
const CHUNK_LINES: i64 = 4000;
/// Lines wait at most this long before they are stored.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// An unfinished line is shown after a pause of this length, as a prompt or a progress bar is.
const PARTIAL_AFTER: Duration = Duration::from_millis(500);

/// The log of one run.
pub(super) struct Journal {
    shared: Arc<Shared>,
    flusher: JoinHandle<()>,
    mask_pipe: PathBuf,
}

struct Shared {
    ctx: Ctx,
    deployment: DeploymentId,
    fence: i64,
    signals: Signals,
    secrets: RwLock<Secrets>,
    state: Mutex<State>,
}

/// What must not be seen, in this log and in the worker's own.
struct Secrets {
    matcher: Arc<Matcher>,
    _known: Known,
}

impl Secrets {
    fn new(matcher: Matcher) -> Self {
        let matcher = Arc::new(matcher);
        Self {
            _known: telemetry::know(Arc::clone(&matcher)),
            matcher,
        }
    }
}

struct State {
    /// Full and on its way to the database. It stays here until it has arrived: whoever stores it
    /// may be dropped on the way, as the sink of a step that is stopped.
    leaving: Option<Chunk>,
    chunk: Chunk,
    bytes_left: u64,
    stream: Option<Stream>,
    masks: Masks,
}

/// The output of the step that runs now.
struct Stream {
    text: LogText,
    step: StepId,
    last_write: Instant,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flusher.abort();
    }
}

impl Journal {
    pub(super) fn open(
        shop: &Workshop,
        assignment: &Assignment,
        signals: &Signals,
    ) -> std::result::Result<Self, Stop> {
        let row = &assignment.row;
        let values = assignment.secrets.values().map(SecretValue::expose);
        let matcher = Matcher::new(values).map_err(|error| {
            let text = format!("The secrets cannot be masked in the log: {error}");
            Stop::failed(Code::ConfigurationInvalid, text)
        })?;
        let name = format!("{}-{}", row.id, row.fence);
        let masks = Masks::open(&shop.ctx.settings.worker.dir, &name).map_err(|error| {
            let text = format!("The worker's folder cannot be used: {error}");
            Stop::failed(Code::Internal, text)
        })?;
        let mask_pipe = masks.path().to_owned();
        let first = assignment.last_line + 1;
        let shared = Arc::new(Shared {
            ctx: shop.ctx.clone(),
            deployment: row.id,
            fence: row.fence,
            signals: signals.clone(),
            secrets: RwLock::new(Secrets::new(matcher)),
            state: Mutex::new(State {
                leaving: None,
                chunk: Chunk::new(row.id, row.fence, None, first, now_us()),
                bytes_left: shop.ctx.settings.worker.log_limit_bytes,
                stream: None,
                masks,
            }),
        });
        let flusher = tokio::spawn(Arc::clone(&shared).flush_now_and_then());
        Ok(Self {
            shared,
            flusher,
            mask_pipe,
        })
    }

    /// Where steps write values that they want masked.
    pub(super) fn mask_pipe(&self) -> &Path {
        &self.mask_pipe
    }

    /// Our own words without secrets, which an error may quote, and without control characters.
    pub(super) fn masked(&self, text: &str) -> String {
        self.lines(text).join(" ")
    }

    fn lines(&self, text: &str) -> Vec<String> {
        let mut own = LogText::new(self.shared.matcher());
        let mut lines = Vec::new();
        own.push(text.as_bytes(), &mut lines);
        own.finish(&mut lines);
        lines
    }

    /// Writes a line of our own.
    pub(super) async fn note(&self, text: &str) {
        let lines = self.lines(text);
        let mut state = self.shared.state.lock().await;
        let step = state.stream.as_ref().map(|stream| stream.step);
        self.shared
            .add(&mut state, step, Source::Slipway, &lines)
            .await;
    }

    /// Begins the output of a step.
    pub(super) async fn begin_step(&self, step: StepId) -> StepSink {
        let mut state = self.shared.state.lock().await;
        // Here and not with the first line, whose writer may be dropped meanwhile.
        self.shared.flush(&mut state).await;
        state.chunk.step = Some(step);
        state.stream = Some(Stream {
            text: LogText::new(self.shared.matcher()),
            step,
            last_write: Instant::now(),
        });
        StepSink(Arc::clone(&self.shared))
    }

    /// Ends the output of a step and stores all of it.
    pub(super) async fn end_step(&self) {
        let mut state = self.shared.state.lock().await;
        self.shared.learn(&mut state);
        if let Some(mut stream) = state.stream.take() {
            let mut lines = Vec::new();
            stream.text.finish(&mut lines);
            self.shared
                .add(&mut state, Some(stream.step), Source::Output, &lines)
                .await;
        }
        self.shared.flush(&mut state).await;
    }

    /// Stores what is left. An error means that the run was lost.
    pub(super) async fn close(&self) -> std::result::Result<(), Stop> {
        self.end_step().await;
        if self.shared.signals.lost.is_cancelled() {
            Err(Stop::Halted)
        } else {
            Ok(())
        }
    }
}

/// Takes the output of the step that runs now.
pub(super) struct StepSink(Arc<Shared>);

impl Sink for StepSink {
    async fn write(&mut self, bytes: &[u8]) {
        let mut lines = Vec::new();
        let mut state = self.0.state.lock().await;
        self.0.learn(&mut state);
        let Some(stream) = &mut state.stream else {
            return;
        };
        stream.last_write = Instant::now();
        stream.text.push(bytes, &mut lines);
        let step = stream.step;
        self.0
            .add(&mut state, Some(step), Source::Output, &lines)
            .await;
    }
}

impl Shared {
    fn matcher(&self) -> Arc<Matcher> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&secrets.matcher)
    }

    /// Masks from here on what steps have asked to be masked. Has to come before output is looked
    /// at, and before it is stored.
    fn learn(&self, state: &mut State) {
        let values = state.masks.take();
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

    async fn flush_now_and_then(self: Arc<Self>) {
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

    async fn add(&self, state: &mut State, step: Option<StepId>, source: Source, lines: &[String]) {
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
    async fn flush(&self, state: &mut State) {
        loop {
            if let Some(full) = &state.leaving {
                self.store(full).await;
                state.leaving = None;
            }
            if state.chunk.lines() == 0 {
                return;
            }
            let next = Chunk::new(
                self.deployment,
                self.fence,
                state.chunk.step,
                state.chunk.last() + 1,
                now_us(),
            );
            state.leaving = Some(std::mem::replace(&mut state.chunk, next));
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

/// Says in the log why a run cannot begin: it never gets a journal of its own. What is said there
/// comes from names and settings, not from values.
pub(super) async fn say_why(ctx: &Ctx, run: (DeploymentId, i64), reason: &Reason) {
    let (id, fence) = run;
    let said = async {
        let first = last_line(ctx.db.writer(), id).await? + 1;
        let mut chunk = Chunk::new(id, fence, None, first, now_us());
        chunk.push(Source::Slipway, now_us(), &reason.text);
        append(ctx.db.writer(), &chunk).await
    };
    match said.await {
        Ok(_) => ctx.bus.publish(Event::Changed(id)).await,
        Err(error) => {
            tracing::warn!(deployment.id = id.0, error = ?error, "a log does not say why");
        }
    }
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
