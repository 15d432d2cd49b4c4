//! Putting the dispatch index right again from the database, without a leader: every process runs
//! these duties, and running one too often harms nothing. They act for the system: system-only.

pub mod duties;
pub mod reaper;
pub mod rebuild;
pub mod reconciler;
pub mod tidy;
