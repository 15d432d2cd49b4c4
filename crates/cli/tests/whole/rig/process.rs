//! What the system says about processes that are not the test's own children.

use std::fs;

/// A process as it was seen once: its number may be given to another one later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    id: u32,
    started: String,
}

impl Process {
    /// The process that has this number now, unless it only waits to be reaped.
    pub(crate) fn find(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // `id (name) state parent ..`, where the name may hold anything; the start is field 22.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let is_over = matches!(fields[0], "Z" | "X");
        (!is_over).then(|| Self {
            id,
            started: fields[19].to_owned(),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        Self::find(self.id).as_ref() == Some(self)
    }
}

/// The most memory that a process has held so far.
pub(crate) fn peak_memory_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.expect("the system tells it").parse().unwrap()
}
