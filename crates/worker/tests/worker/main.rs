//! A whole worker in one process: real git, real processes, real folders, a migrated database and
//! the in-memory queue.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test whose surroundings fail has failed, and a panic is how it says so"
)]

mod ends;
mod environment;
mod faults;
mod guard;
mod hardening;
mod hostile;
mod interruption;
mod journal;
mod locks;
mod look;
mod mysql;
mod notify;
mod pipeline;
mod planned;
mod privacy;
mod process;
mod resume;
mod rig;
mod rollback;
mod site;
mod source;
mod ssh;
mod ssh_keys;
