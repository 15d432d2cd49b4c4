//! What the tests start and ask: an installation, its processes, and a client of its API.

mod client;
mod events;
mod installation;
mod process;

use std::{fs, path::Path, time::Duration};

pub(crate) use client::{Answer, Client};
pub(crate) use events::{Event, Events};
pub(crate) use installation::{Api, Installation, Redis};
pub(crate) use process::{Process, peak_memory_kib};

/// Long enough for any machine to do what a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The lines that steps have written to a file so far, cut into words. Each line was one write.
pub(crate) fn records(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines().map(words).collect()
}
