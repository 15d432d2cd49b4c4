//! The releases that a target keeps.

use crate::word::words;

words! {
    /// What a release folder is.
    ReleaseState {
        /// `current` points at it.
        Live = "live",
        /// It can be brought back.
        Kept = "kept",
        /// It was live, failed its health check, and was taken back.
        Failed = "failed",
        /// Its folder is gone.
        Pruned = "pruned",
    }
}
