//! The log of one run: numbered lines on their way to the database, in order and in bounded memory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use slipway_core::{
    ctx::Ctx,
    deployment::{
        line::Source,
        run::Assignment,
        store::log::{Chunk, append, last_line},
    },
    id::{DeploymentId, StepId},
    ports::Event,
    vault::value::SecretValue,
};
use tokio::{sync::Mutex, task::JoinHandle};

use super::{Stop, Workshop};
use crate::{exec::Sink, lease::Signals, output::LogText, redact::Matcher};

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
    /// Masks everything, our own words too: an error may quote a value.
    pub(super) matcher: Arc<Matcher>,
}

struct Shared {
    ctx: Ctx,
    deployment: DeploymentId,
    fence: i64,
    signals: Signals,
    state: Mutex<State>,
}

struct State {
    chunk: Chunk,
    bytes_left: u64,
    stream: Option<Stream>,
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
    pub(super) async fn open(
        shop: &Workshop,
        assignment: &Assignment,
        signals: &Signals,
    ) -> Result<Self, Stop> {
        let row = &assignment.row;
        let values = assignment.secrets.values().map(SecretValue::expose);
        let matcher = Matcher::new(values).map_err(|error| {
            let text = format!("The secrets cannot be masked in the log: {error}");
            Stop::failed(
                slipway_core::deployment::reason::Code::ConfigurationInvalid,
                text,
            )
        })?;
        let first = last_line(shop.ctx.db.writer(), row.id).await? + 1;
        let shared = Arc::new(Shared {
            ctx: shop.ctx.clone(),
            deployment: row.id,
            fence: row.fence,
            signals: signals.clone(),
            state: Mutex::new(State {
                chunk: Chunk::new(row.id, row.fence, None, first, now_us()),
                bytes_left: shop.ctx.settings.worker.log_limit_bytes,
                stream: None,
            }),
        });
        let flusher = tokio::spawn(Arc::clone(&shared).flush_now_and_then());
        Ok(Self {
            shared,
            flusher,
            matcher: Arc::new(matcher),
        })
    }

    /// Writes a line of our own.
    pub(super) async fn note(&self, text: &str) {
        let mut own = LogText::new(Arc::clone(&self.matcher));
        let mut lines = Vec::new();
        own.push(text.as_bytes(), &mut lines);
        own.finish(&mut lines);
        let mut state = self.shared.state.lock().await;
        let step = state.stream.as_ref().map(|stream| stream.step);
        self.shared
            .add(&mut state, step, Source::Slipway, &lines)
            .await;
    }

    /// Begins the output of a step.
    pub(super) async fn begin_step(&self, step: StepId) -> StepSink {
        let mut state = self.shared.state.lock().await;
        state.stream = Some(Stream {
            text: LogText::new(Arc::clone(&self.matcher)),
            step,
            last_write: Instant::now(),
        });
        StepSink(Arc::clone(&self.shared))
    }

    /// Ends the output of a step and stores all of it.
    pub(super) async fn end_step(&self) {
        let mut state = self.shared.state.lock().await;
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
    pub(super) async fn close(&self) -> Result<(), Stop> {
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
    async fn flush_now_and_then(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            let mut state = self.state.lock().await;
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
            if state.chunk.size_bytes() >= CHUNK_BYTES || state.chunk.lines() >= CHUNK_LINES {
                self.flush(state).await;
            }
        }
    }

    /// Stores the chunk. While the database is away the step waits here, until the lease is given
    /// up; nothing is dropped before that.
    async fn flush(&self, state: &mut State) {
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
        let full = std::mem::replace(&mut state.chunk, next);
        let last = full.last();
        while !self.signals.lost.is_cancelled() {
            match append(self.ctx.db.writer(), &full).await {
                Ok(true) => {
                    self.ctx
                        .bus
                        .publish(Event::Log(self.deployment, last))
                        .await;
                    return;
                }
                Ok(false) => self.signals.lost.cancel(),
                Err(error) => {
                    tracing::warn!(deployment.id = self.deployment.0, error = ?error,
                        "a piece of a log could not be stored yet");
                    let pause = tokio::time::sleep(Duration::from_millis(500));
                    let _lost = self.signals.lost.run_until_cancelled(pause).await;
                }
            }
        }
    }
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
