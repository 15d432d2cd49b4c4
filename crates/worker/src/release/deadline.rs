//! Until when a run may change its target. Who decides that, and by which clock, is not known here.

use std::{fmt, sync::Arc};

use super::ReleaseError;

/// Whether a run's time is over, asked anew each time: it moves with every renewal of its lease.
///
/// A fence only refuses a run when a newer one was at the target. A run that was frozen, and whose
/// deployment was ended by others meanwhile, may have no successor.
#[derive(Clone)]
pub struct Deadline(Arc<dyn Fn() -> bool + Send + Sync>);

impl Deadline {
    /// A deadline that has passed when `is_over` says so.
    #[must_use]
    pub fn new(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_over))
    }

    /// Refuses a run whose time is over.
    pub(super) fn check(&self) -> Result<(), ReleaseError> {
        if (self.0)() {
            return Err(ReleaseError::TooLate);
        }
        Ok(())
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deadline")
    }
}
