//! Writes a fresh private authority and a loopback server certificate into a folder.
//!
//! `deploy/test.sh` calls it for the Redis that speaks TLS.

use std::{env, fs, path::PathBuf};

use anyhow::Context;
use slipway_testkit::Authority;

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = env::args_os()
        .nth(1)
        .context("usage: testkit-certs FOLDER")?
        .into();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Authority::new()?.write_loopback(&folder)?;
    Ok(())
}
