//! Carries a command's output from its pipe to a sink.
//!
//! It knows bytes only. Silence is measured while waiting for the pipe, never while the sink
//! makes us wait, so a slow database does not look like a stuck command.

use std::{future::Future, io, pin::pin, time::Duration};

use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, time::Instant};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Limits;

/// One read takes at most as much as a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;
/// What most commands print fits into this, and wiping memory takes its time.
const FEW_BYTES: usize = 4 * 1024;

/// Takes a command's output as it comes.
///
/// A sink that does not return makes the command wait, as a full pipe does.
pub trait Sink: Send {
    /// Takes the next bytes; they may end anywhere, within a character too.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = ()> + Send;
}

/// A sink that keeps the last bytes in memory.
#[derive(Debug)]
pub struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Captured {
    /// Keeps at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            overflowed: false,
        }
    }

    /// What was kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was kept, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether older bytes had to go.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// What was kept, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Sink for Captured {
    async fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if let Some(excess) = self.bytes.len().checked_sub(self.limit).filter(|&n| n > 0) {
            self.bytes.drain(..excess);
            self.overflowed = true;
        }
    }
}

/// Reads a pipe into a sink until the command is over and the pipe is empty.
pub(super) struct Pump {
    pub(super) reader: Receiver,
    /// Cancelled by the pump when the idle limit is reached; it goes on reading.
    pub(super) silent: CancellationToken,
    /// Cancelled by the supervisor when the command has ended.
    pub(super) over: CancellationToken,
    pub(super) limits: Limits,
}

impl Pump {
    pub(super) async fn run(mut self, sink: &mut impl Sink) {
        // What is read may hold secrets.
        let mut buffer = Zeroizing::new(vec![0_u8; FEW_BYTES]);
        let idle_timeout = self.limits.idle_timeout.unwrap_or(Duration::MAX);
        let mut open = true;
        while !self.over.is_cancelled() {
            tokio::select! {
                biased;
                read = self.reader.read(&mut buffer), if open => {
                    let is_full = read.as_ref().is_ok_and(|count| *count == buffer.len());
                    open = forward(read, &buffer, sink).await;
                    if is_full && buffer.len() < PIPE_BYTES {
                        buffer = Zeroizing::new(vec![0_u8; PIPE_BYTES]);
                    }
                }
                () = self.over.cancelled() => {}
                () = tokio::time::sleep(idle_timeout), if !self.silent.is_cancelled() => self.silent.cancel(),
            }
        }
        if open {
            self.drain(&mut buffer, sink).await;
        }
    }

    /// Reads what a finished command has left in the pipe.
    ///
    /// What it wrote itself fits into one pipe and is read whatever the sink's speed. Only what
    /// comes after that can be from a process in a session of its own, which may hold the pipe for
    /// ever and gets the grace time only.
    async fn drain(&mut self, buffer: &mut [u8], sink: &mut impl Sink) {
        let deadline = Instant::now() + self.limits.drain_grace;
        let mut own_bytes = PIPE_BYTES;
        while own_bytes > 0 || Instant::now() < deadline {
            // A passed deadline still lets the read take what is already there.
            let Ok(read) = tokio::time::timeout_at(deadline, self.reader.read(buffer)).await else {
                return;
            };
            own_bytes = own_bytes.saturating_sub(*read.as_ref().unwrap_or(&0));
            if !forward(read, buffer, sink).await {
                return;
            }
        }
    }
}

/// Hands on what was read; says whether there can be more.
async fn forward(read: io::Result<usize>, buffer: &[u8], sink: &mut impl Sink) -> bool {
    match read.ok().and_then(|count| buffer.get(..count)) {
        Some(bytes) if !bytes.is_empty() => {
            sink.write(bytes).await;
            true
        }
        _ => false,
    }
}

/// Drives `other` to its end while `pump` goes on, however early the pump ends.
pub(super) async fn alongside<T>(
    pump: impl Future<Output = ()>,
    other: impl Future<Output = T>,
) -> T {
    let mut other = pin!(other);
    tokio::select! {
        done = &mut other => done,
        () = pump => other.await,
    }
}
