//! One viewer's event stream: first the past, from where the viewer left off, then what comes.

use std::{convert::Infallible, time::Duration};

use actix_web::HttpRequest;
use actix_web_lab::sse::{self, Sse};
use slipway_core::{
    access::Actor,
    ctx::Ctx,
    deployment::{self, line::LogLine, service::Detail},
    error::Error,
    id::DeploymentId,
};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::{
    json::{
        deployments::DeploymentView,
        log::{LineView, StepNames, step_names},
    },
    tail::{News, Tails},
    watch::Watching,
};

/// How often an idle stream shows that it lives; proxies cut silent ones.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a browser waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(2);
/// Events that wait for a slow viewer.
const WAITING: usize = 256;

/// A stream of events.
pub type Events = Sse<tokio_stream::adapters::Map<ReceiverStream<sse::Event>, Wrap>>;
type Wrap = fn(sse::Event) -> Result<sse::Event, Infallible>;

/// The line after which a viewer wants to go on; 0 is the beginning.
///
/// A browser cannot send the header when it first connects, so the address may say `after`; once
/// it reconnects the header is the newer of the two.
///
/// # Errors
/// One of them is not the number of a line.
pub fn resume_after(request: &HttpRequest, after: Option<i64>) -> Result<i64, Error> {
    let (name, number) = match request.headers().get("Last-Event-ID") {
        Some(header) => {
            let text = header.to_str().ok().map(str::trim);
            ("Last-Event-ID", text.and_then(|text| text.parse().ok()))
        }
        None => ("after", Some(after.unwrap_or_default())),
    };
    number
        .filter(|number| *number >= 0)
        .ok_or_else(|| Error::invalid(name, "must be the number of a line"))
}

/// Follows a deployment for one viewer, as long as they may.
pub fn follow(
    ctx: &Ctx,
    tails: &Tails,
    (actor, watching): (Actor, Watching),
    id: DeploymentId,
    after: i64,
) -> Events {
    let (events, receiver) = mpsc::channel(WAITING);
    let viewer = Viewer {
        ctx: ctx.clone(),
        actor,
        id,
        sent: after,
        names: StepNames::new(),
        state: None,
        events,
    };
    // Subscribed before the past is read, so that nothing falls between the two.
    let news = tails.watch(id);
    let stop = tails.stopping().clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let watched = watching.ended().run_until_cancelled(viewer.run(news));
        watched.await;
    }));
    let wrap: Wrap = Ok;
    Sse::from_stream(ReceiverStream::new(receiver).map(wrap))
        .with_keep_alive(KEEP_ALIVE)
        .with_retry_duration(RECONNECT)
}

struct Viewer {
    ctx: Ctx,
    actor: Actor,
    id: DeploymentId,
    /// The last line that was sent.
    sent: i64,
    names: StepNames,
    /// What was last told of status and steps.
    state: Option<(String, Vec<String>)>,
    events: mpsc::Sender<sse::Event>,
}

/// Why a stream ends.
enum Ended {
    /// The viewer went away, or may not see the deployment any more.
    Gone,
    /// Nothing more will come.
    Complete,
}

impl Viewer {
    async fn run(mut self, news: broadcast::Receiver<News>) {
        if matches!(self.watch(news).await, Ended::Complete) {
            let _gone = self.send(sse::Data::new("").event("end")).await;
        }
    }

    async fn watch(&mut self, mut news: broadcast::Receiver<News>) -> Ended {
        match self.catch_up().await {
            Ok(false) => {}
            Ok(true) => return Ended::Complete,
            Err(Ended::Gone | Ended::Complete) => return Ended::Gone,
        }
        loop {
            let step = match news.recv().await {
                Ok(News::Lines(lines)) if self.continues(&lines) => {
                    self.send_lines(&lines).await.map(|()| false)
                }
                // A gap, a change, or too far behind: the database has the whole story.
                Ok(News::Lines(_) | News::Changed)
                | Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up().await,
                Err(broadcast::error::RecvError::Closed) => return Ended::Gone,
            };
            match step {
                Ok(false) => {}
                Ok(true) => return Ended::Complete,
                Err(ended) => return ended,
            }
        }
    }

    /// Whether these lines follow what was sent, or are known already.
    fn continues(&self, lines: &[LogLine]) -> bool {
        lines
            .first()
            .is_none_or(|line| line.number <= self.sent + 1)
    }

    /// Sends all that is stored and was not sent. True when nothing more will come: the state is
    /// read before the lines, because a deployment ends only after its last line is stored.
    async fn catch_up(&mut self) -> Result<bool, Ended> {
        let detail = self.read(deployment::service::get(&self.ctx, &self.actor, self.id).await)?;
        self.names = step_names(&detail);
        let is_over = detail.row.status.is_terminal();
        loop {
            let log = deployment::service::log(&self.ctx, &self.actor, self.id, self.sent).await;
            let lines = self.read(log)?;
            if lines.is_empty() {
                break;
            }
            self.send_lines(&lines).await?;
        }
        self.send_state(detail).await?;
        Ok(is_over)
    }

    fn read<T>(&self, outcome: Result<T, Error>) -> Result<T, Ended> {
        outcome.map_err(|error| {
            if !matches!(error, Error::NotFound(_)) {
                tracing::warn!(deployment.id = self.id.0, error = ?error, "a live stream broke off");
            }
            Ended::Gone
        })
    }

    /// Learns the names of steps that began after they were last read.
    async fn learn_names(&mut self, lines: &[LogLine]) -> Result<(), Ended> {
        let steps = || lines.iter().filter_map(|line| line.step);
        if steps().all(|step| self.names.contains_key(&step)) {
            return Ok(());
        }
        let detail = deployment::service::get(&self.ctx, &self.actor, self.id).await;
        self.names = step_names(&self.read(detail)?);
        Ok(())
    }

    async fn send_lines(&mut self, lines: &[LogLine]) -> Result<(), Ended> {
        self.learn_names(lines).await?;
        for line in lines.iter().filter(|line| line.number > self.sent) {
            let view = LineView::new(line.clone(), &self.names);
            let data = sse::Data::new(json(&view))
                .id(line.number.to_string())
                .event("log");
            self.send(data).await?;
        }
        if let Some(last) = lines.last() {
            self.sent = self.sent.max(last.number);
        }
        Ok(())
    }

    /// Sends status and steps as far as they differ from what was sent.
    async fn send_state(&mut self, detail: Detail) -> Result<(), Ended> {
        let mut view = DeploymentView::from(detail);
        let steps: Vec<String> = std::mem::take(&mut view.steps).iter().map(json).collect();
        let status = json(&view);
        let (old_status, old_steps) = self.state.take().unwrap_or_default();
        for (index, step) in steps.iter().enumerate() {
            if old_steps.get(index) != Some(step) {
                self.send(sse::Data::new(step.clone()).event("step"))
                    .await?;
            }
        }
        if old_status != status {
            self.send(sse::Data::new(status.clone()).event("status"))
                .await?;
        }
        self.state = Some((status, steps));
        Ok(())
    }

    async fn send(&self, data: sse::Data) -> Result<(), Ended> {
        self.events
            .send(data.into())
            .await
            .map_err(|_closed| Ended::Gone)
    }
}

/// Our own views always become JSON; if one ever did not, an empty event is better than none.
fn json(view: &impl serde::Serialize) -> String {
    serde_json::to_string(view).unwrap_or_default()
}
