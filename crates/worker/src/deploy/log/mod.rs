//! The log of one run: numbered lines on their way to the database, in order and in bounded memory.

mod shared;

use std::{
    iter,
    path::PathBuf,
    sync::{Arc, RwLock},
    time::Instant,
};

use slipway_core::{
    ctx::Ctx,
    deployment::{
        line::Source,
        reason::{Code, Reason},
        run::Assignment,
        store::log::{Chunk, append, last_line},
    },
    id::{DeploymentId, StepId},
    ports::Event,
    vault::value::SecretValue,
};
use slipway_redact::Matcher;
use tokio::{sync::Mutex, task::JoinHandle};

use shared::{Secrets, Shared, State, Stream};

use super::{
    Stop, Workshop,
    masks::{Masks, Pipes},
};
use crate::{exec::Sink, lease::Signals, output::LogText};

/// The log of one run.
pub(super) struct Journal {
    shared: Arc<Shared>,
    flusher: JoinHandle<()>,
    pipes: Pipes,
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
    ) -> Result<Self, Stop> {
        let row = &assignment.row;
        let values = assignment.secrets.values().map(SecretValue::expose);
        let matcher = Matcher::new(values).map_err(|error| {
            let text = format!("The secrets cannot be masked in the log: {error}");
            Stop::failed(Code::ConfigurationInvalid, text)
        })?;
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
                masks: None,
            }),
        });
        let flusher = tokio::spawn(Arc::clone(&shared).flush_now_and_then());
        Ok(Self {
            shared,
            flusher,
            pipes: shop.pipes.clone(),
        })
    }

    /// Where steps write values that they want masked; made for the first one that runs.
    pub(super) async fn mask_pipe(&self) -> Result<PathBuf, Stop> {
        let mut state = self.shared.state.lock().await;
        if state.masks.is_none() {
            let name = format!("{}-{}", self.shared.deployment, self.shared.fence);
            let masks = self.pipes.open(&name).map_err(|error| {
                let text = format!("The worker's folder cannot be used: {error}");
                Stop::failed(Code::Internal, text)
            })?;
            state.masks = Some(masks);
        }
        let masks = state.masks.as_ref();
        Ok(masks.map(Masks::path).unwrap_or_default())
    }

    /// Our own words without secrets, which an error may quote, and without control characters.
    pub(super) fn masked(&self, text: &str) -> String {
        self.lines(text).join(" ")
    }

    fn lines(&self, text: &str) -> Vec<String> {
        lines(self.shared.matcher(), text)
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
        self.shared.end_stream(&mut state).await;
        self.shared.flush(&mut state).await;
    }

    /// Ends the output of the last step. It is stored with the end of the run, or a moment before.
    pub(super) async fn end_last_step(&self) {
        let mut state = self.shared.state.lock().await;
        self.shared.end_stream(&mut state).await;
    }

    /// Hands out what has not been stored yet, for somebody who stores it together with something
    /// else.
    pub(super) async fn take(&self) -> Option<Chunk> {
        let mut state = self.shared.state.lock().await;
        self.shared.take(&mut state)
    }

    /// Takes back what was handed out and could not be stored.
    pub(super) async fn put_back(&self, chunk: Option<Chunk>) {
        let mut state = self.shared.state.lock().await;
        if state.leaving.is_none() {
            state.leaving = chunk;
        }
    }

    /// Ends the log and hands out what is left of it. An error means that the run was lost.
    pub(super) async fn close(&self) -> Result<Option<Chunk>, Stop> {
        let mut state = self.shared.state.lock().await;
        self.shared.end_stream(&mut state).await;
        if state.leaving.is_some() {
            self.shared.flush(&mut state).await;
        }
        if self.shared.signals.lost.is_cancelled() {
            Err(Stop::Halted)
        } else {
            Ok(self.shared.take(&mut state))
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

/// The first lines of a log, from before its run has a journal. Nothing in them is secret.
pub(super) fn opening((id, fence): (DeploymentId, i64), text: &str) -> Chunk {
    let now = now_us();
    let nothing = Matcher::new(iter::empty()).unwrap_or_default();
    let mut chunk = Chunk::new(id, fence, None, 1, now);
    for line in lines(Arc::new(nothing), text) {
        chunk.push(Source::Slipway, now, &line);
    }
    chunk
}

/// Our own words as lines, without what `matcher` knows and without control characters.
fn lines(matcher: Arc<Matcher>, text: &str) -> Vec<String> {
    let mut own = LogText::new(matcher);
    let mut lines = Vec::new();
    own.push(text.as_bytes(), &mut lines);
    own.finish(&mut lines);
    lines
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
