//! Sees to it that a command does not outlive this process, however this process ends.
//!
//! A killed worker cannot tidy up, and its deployment goes on elsewhere soon. A small shell beside
//! each command therefore reads from a pipe that only this process can write to, and when that pipe
//! ends it kills what [`super::process`] would have killed. It is itself killed first when the
//! command is over, so it never acts while this process lives.

use std::{
    io::{self, PipeWriter, Write as _},
    process::Stdio,
};

use rustix::process::Pid;
use tokio::process::{Child, Command};

use super::sweep::{MARK_NAME, Mark};

/// Takes the mark as its first argument and the process group as its first line.
///
/// Like the sweep it asks for two empty rounds: a process in the middle of `exec` has no
/// environment to read.
const SCRIPT: &str = r#"
read -r group
read -r end
[ -z "$group" ] || kill -KILL -- "-$group"
rounds=0
while [ "$rounds" -lt 2 ]; do
  rounds=$((rounds + 1))
  for file in $(grep -lzxF -e "$1" /proc/[0-9]*/environ); do
    pid=${file#/proc/}
    kill -KILL "${pid%/environ}"
    rounds=0
  done
done
"#;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Outlives this process only to end one command. The order of its parts matters: the shell is
/// killed before its pipe ends.
pub(super) struct Watcher {
    _shell: Child,
    pipe: PipeWriter,
}

impl Watcher {
    /// Starts watching, before there is anything to watch.
    pub(super) fn start(mark: &Mark) -> io::Result<Self> {
        let (reader, pipe) = io::pipe()?;
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "slipway-watcher"])
            .arg(format!("{MARK_NAME}={}", mark.value()))
            .env_clear()
            .env("PATH", PATH)
            .process_group(0)
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            _shell: shell,
            pipe,
        })
    }

    /// Names the process group of the command.
    pub(super) fn watch(&mut self, group: Pid) -> io::Result<()> {
        writeln!(self.pipe, "{group}")
    }
}
