//! The event bus on Redis: one channel, hints as a few words of text, a line for each.
//!
//! Nobody waits for a hint to be sent: what is published while one message is under way leaves with
//! the next one, so a busy process sends few messages.
//!
//! One connection listens for the whole process and fans out. A hint may be lost while it is down;
//! every time it comes back, all subscribers are told that they may have missed some.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::Message,
};
use slipway_core::{
    id::DeploymentId,
    ports::{Event, EventBus, Received, Subscription},
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, watch,
    },
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::client::{Clients, Link};
use crate::{
    keys::Keys,
    memory::{BACKLOG, Listener},
};

/// How often the listening connection proves that it still listens.
const BEAT: Duration = Duration::from_secs(5);
/// Hints that wait to be sent at most.
const OUTBOX: usize = 4096;
/// Hints that one message carries at most.
const MESSAGE: usize = 64;
/// The longest that a new subscriber waits for a server that is away.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(2);

/// The event bus that all processes share.
#[derive(Debug)]
pub(super) struct RedisBus {
    outbox: mpsc::Sender<Event>,
    sender: broadcast::Sender<Received>,
    listening: watch::Receiver<bool>,
    _pump: AbortOnDropHandle<()>,
    _post: AbortOnDropHandle<()>,
}

impl RedisBus {
    pub(super) fn new(commands: Arc<Link>, clients: &Clients, keys: &Keys) -> Result<Self, Error> {
        let sender = broadcast::Sender::new(BACKLOG);
        let (listening, watched) = watch::channel(false);
        let client = clients.for_hints()?;
        let pump = Pump {
            messages: client.message_rx(),
            connects: client.reconnect_rx(),
            link: Link::open(client),
            channel: keys.events().to_owned(),
            sender: sender.clone(),
            listening,
        };
        let (outbox, published) = mpsc::channel(OUTBOX);
        let post = post(commands, keys.events().to_owned(), published);
        Ok(Self {
            outbox,
            sender,
            listening: watched,
            _pump: AbortOnDropHandle::new(tokio::spawn(pump.run())),
            _post: AbortOnDropHandle::new(tokio::spawn(post)),
        })
    }
}

#[async_trait]
impl EventBus for RedisBus {
    async fn publish(&self, event: Event) {
        // Full when the server does not answer; then hints are what is given up first.
        if self.outbox.try_send(event).is_err() {
            tracing::debug!("a hint was not sent");
        }
    }

    async fn subscribe(&self) -> Box<dyn Subscription> {
        let mut listening = self.listening.clone();
        // If the server is away the subscriber is told that it lost hints when it is back.
        let _ = timeout(SUBSCRIBE_WAIT, listening.wait_for(|listening| *listening)).await;
        Box::new(Listener(self.sender.subscribe()))
    }
}

/// Sends what was published, in order, as long as the server is there.
async fn post(commands: Arc<Link>, channel: String, mut published: mpsc::Receiver<Event>) {
    let mut hints = Vec::with_capacity(MESSAGE);
    while published.recv_many(&mut hints, MESSAGE).await > 0 {
        let message = lines(&hints);
        hints.clear();
        let Ok(client) = commands.connected() else {
            continue;
        };
        let sent: Result<u64, Error> = client.publish(channel.as_str(), message).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "hints were not sent");
        }
    }
}

/// A line for each hint. Saying twice that a deployment changed says nothing new.
fn lines(hints: &[Event]) -> String {
    let mut text = String::new();
    for (index, hint) in hints.iter().enumerate() {
        let later = hints.get(index + 1..).unwrap_or_default();
        if matches!(hint, Event::Changed(_)) && later.contains(hint) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&encode(*hint));
    }
    text
}

/// Carries hints from the listening connection to the process's subscribers.
struct Pump {
    messages: broadcast::Receiver<Message>,
    connects: broadcast::Receiver<fred::types::config::Server>,
    link: Link,
    channel: String,
    sender: broadcast::Sender<Received>,
    listening: watch::Sender<bool>,
}

impl Pump {
    async fn run(mut self) {
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Ok(message) => self.pass_on(&message),
                    Err(RecvError::Lagged(_)) => self.send(Received::Lagged),
                    Err(RecvError::Closed) => return,
                },
                _ = self.connects.recv() => {
                    self.listening.send_replace(false);
                    self.listen().await;
                }
                _ = beat.tick() => self.listen().await,
            }
        }
    }

    fn pass_on(&self, message: &Message) {
        let text = message.value.as_str();
        for line in text.as_deref().unwrap_or_default().split('\n') {
            match decode(line) {
                Some(event) => self.send(Received::Event(event)),
                None => tracing::debug!("a hint in a form that this version does not know"),
            }
        }
    }

    /// Subscribes, which may be repeated at will, and proves that the server has done so.
    async fn listen(&self) {
        let listens = subscribe(self.link.client(), &self.channel).await;
        if let Err(error) = &listens {
            tracing::debug!(%error, "not listening for hints");
        }
        let listened = *self.listening.borrow();
        if listens.is_ok() && !listened {
            self.send(Received::Lagged);
        }
        self.listening.send_replace(listens.is_ok());
    }

    fn send(&self, received: Received) {
        // The only error is that nobody listens.
        let _ = self.sender.send(received);
    }
}

async fn subscribe(client: &Client, channel: &str) -> Result<(), Error> {
    client.subscribe(channel).await?;
    // Subscribing reports success once it is written; only an answer to the next command on the
    // same connection shows that the server has seen it.
    client.ping::<String>(None).await?;
    Ok(())
}

fn encode(event: Event) -> String {
    match event {
        Event::Log(id, sequence) => format!("log {id} {sequence}"),
        Event::Changed(id) => format!("changed {id}"),
        Event::Cancel(id) => format!("cancel {id}"),
    }
}

fn decode(text: &str) -> Option<Event> {
    let mut words = text.split(' ');
    let kind = words.next()?;
    let id: DeploymentId = words.next()?.parse().ok()?;
    let event = match kind {
        "log" => Event::Log(id, words.next()?.parse().ok()?),
        "changed" => Event::Changed(id),
        "cancel" => Event::Cancel(id),
        _ => return None,
    };
    words.next().is_none().then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_survives_the_channel() {
        let id = DeploymentId(12);
        for event in [Event::Log(id, 345), Event::Changed(id), Event::Cancel(id)] {
            assert_eq!(decode(&encode(event)), Some(event));
        }
    }

    #[test]
    fn message_says_each_thing_once_and_in_order() {
        let (one, two) = (DeploymentId(1), DeploymentId(2));
        let hints = [
            Event::Changed(one),
            Event::Log(one, 1),
            Event::Changed(two),
            Event::Log(one, 2),
            Event::Changed(one),
            Event::Cancel(one),
        ];
        assert_eq!(
            lines(&hints),
            "log 1 1\nchanged 2\nlog 1 2\nchanged 1\ncancel 1"
        );
    }

    #[test]
    fn hints_of_another_version_are_left_alone() {
        for text in [
            "",
            "log",
            "log 12",
            "log 12 x",
            "changed 12 13",
            "paused 12",
            "changed ",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
