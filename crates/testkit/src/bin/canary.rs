//! Searches files and folders for values that must not be there: `testkit-canary PATH...`.
//!
//! Each line of standard input is a name and a value with a blank between. Used by `deploy/canary.sh`.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use slipway_testkit::Canaries;

fn main() -> io::Result<ExitCode> {
    let mut canaries = Canaries::default();
    let values = io::read_to_string(io::stdin())?;
    for (name, value) in values.lines().filter_map(|line| line.split_once(' ')) {
        canaries.add(name, value);
    }
    for path in env::args_os().skip(1).map(PathBuf::from) {
        if path.is_dir() {
            canaries.search_folder(&path);
        } else {
            canaries.search(&path.to_string_lossy(), fs::read(&path)?);
        }
    }
    canaries.search_processes(&["slipway-guard"]);
    let (found, searched) = (canaries.take_findings(), canaries.searched());
    let mut out = io::stdout().lock();
    for hit in &found {
        writeln!(out, "FOUND {hit}")?;
    }
    writeln!(
        out,
        "{} values in {} places, {} bytes, {} processes: {} hits",
        values.lines().count(),
        searched.places,
        searched.bytes,
        searched.processes,
        found.len()
    )?;
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
