//! Whether a process that a step wrote down still runs.

use std::{fs, path::Path};

use slipway_testkit::eventually;

use crate::rig::DEADLINE;

/// Gone, or dead and not yet taken away by whoever inherited it.
pub(crate) fn is_gone(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

/// The process that is written down in this file, as soon as all of its line is.
pub(crate) async fn pid_in(file: &Path) -> String {
    eventually(DEADLINE, async || match fs::read_to_string(file) {
        Ok(text) if text.ends_with('\n') => Ok(text.trim().to_owned()),
        read => Err(read),
    })
    .await
}

pub(crate) async fn until_gone(pid: &str) {
    eventually(
        DEADLINE,
        async || if is_gone(pid) { Ok(()) } else { Err(pid) },
    )
    .await;
}
