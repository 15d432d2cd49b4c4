//! Whether a process that a step wrote down still runs.

use std::fs;

use slipway_testkit::eventually;

use crate::rig::DEADLINE;

/// Gone, or dead and not yet taken away by whoever inherited it.
pub(crate) fn is_gone(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else {
        return true;
    };
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

pub(crate) async fn until_gone(pid: &str) {
    eventually(
        DEADLINE,
        async || if is_gone(pid) { Ok(()) } else { Err(pid) },
    )
    .await;
}
