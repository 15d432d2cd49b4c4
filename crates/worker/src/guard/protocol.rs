//! What a worker tells its guard: one line a message, over a pipe.
//!
//! Times are those of the machine's clock that never jumps and goes on while the machine sleeps, in
//! milliseconds: both processes read the same one.

use std::{fmt, str::FromStr, time::Duration};

use rustix::{
    process::Pid,
    time::{ClockId, clock_gettime},
};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A command is about to be started for a run whose lease was renewed at this time.
    Begin(u64, Lease, String),
    /// It leads this process group.
    Group(u64, Pid),
    /// It is over.
    End(u64),
    /// A lease was renewed.
    Renew(Lease),
    /// A run is not this worker's any more.
    Lost(u64),
    /// A question to which any byte is the answer.
    Ping,
}

/// The lease of one run, as the guard knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) run: u64,
    /// When its last successful renewal was sent.
    pub(super) renewed: u64,
}

/// The present time.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1000 + nanos / 1_000_000
}

/// A span in the unit of [`now`].
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(key, Lease { run, renewed }, mark) => {
                writeln!(f, "begin {key} {run} {renewed} {mark}")
            }
            Self::Group(key, group) => writeln!(f, "group {key} {group}"),
            Self::End(key) => writeln!(f, "end {key}"),
            Self::Renew(Lease { run, renewed }) => writeln!(f, "renew {run} {renewed}"),
            Self::Lost(run) => writeln!(f, "lost {run}"),
            Self::Ping => writeln!(f, "ping"),
        }
    }
}

impl FromStr for Message {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let word = words.next().ok_or(())?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let message = match word {
            "begin" => {
                let key = number().ok_or(())?;
                let (run, renewed) = (number().ok_or(())?, number().ok_or(())?);
                let mark = words.next().ok_or(())?.to_owned();
                Self::Begin(key, Lease { run, renewed }, mark)
            }
            "group" => {
                let key = number().ok_or(())?;
                let group = number().and_then(|id| i32::try_from(id).ok()).ok_or(())?;
                Self::Group(key, Pid::from_raw(group).ok_or(())?)
            }
            "end" => Self::End(number().ok_or(())?),
            "renew" => {
                let (run, renewed) = (number().ok_or(())?, number().ok_or(())?);
                Self::Renew(Lease { run, renewed })
            }
            "lost" => Self::Lost(number().ok_or(())?),
            "ping" => Self::Ping,
            _ => return Err(()),
        };
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let lease = Lease {
            run: 7,
            renewed: 12_345,
        };
        let messages = [
            Message::Begin(1, lease, "ab12".to_owned()),
            Message::Group(1, Pid::from_raw(42).unwrap()),
            Message::End(1),
            Message::Renew(lease),
            Message::Lost(7),
            Message::Ping,
        ];
        for message in messages {
            let line = message.to_string();
            assert_eq!(line.trim_end().parse(), Ok(message), "{line}");
        }
    }

    #[test]
    fn half_a_message_is_none() {
        for line in ["", "begin 1 2", "group 1", "group 1 0", "end", "other 1"] {
            assert_eq!(line.parse::<Message>(), Err(()), "{line}");
        }
    }
}
