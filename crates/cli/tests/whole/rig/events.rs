//! Reads a stream of server-sent events from its raw bytes, as the standard describes them.

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use super::DEADLINE;

/// A stream that is being read. Dropping it cuts the connection.
#[derive(Debug)]
pub(crate) struct Events {
    stream: Response,
    unread: Vec<u8>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<i64>,
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Events {
    pub(crate) fn new(stream: Response) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// The next event; nothing when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8(block).unwrap()) {
                    return Some(event);
                }
                continue;
            }
            let chunk = timeout(DEADLINE, self.stream.chunk());
            let chunk = chunk.await.expect("the stream is silent");
            self.unread.extend(chunk.expect("the stream broke")?);
        }
    }
}

/// Comments keep a connection alive and are no events.
fn parse(block: &str) -> Option<Event> {
    let mut event = Event {
        id: None,
        name: "message".to_owned(),
        data: String::new(),
    };
    let mut is_event = false;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.parse().unwrap()),
            "event" => value.clone_into(&mut event.name),
            "data" => value.clone_into(&mut event.data),
            _ => continue,
        }
        is_event = true;
    }
    is_event.then_some(event)
}
