//! The parts of a run that are shown one by one.

use crate::word::words;

words! {
    /// Which part of the pipeline a step belongs to.
    Phase {
        /// Fetching the commit.
        Checkout = "checkout",
        /// On the worker, in the checkout.
        Build = "build",
        /// In the new release folder, before it is live.
        Release = "release",
        /// The switch itself.
        Activate = "activate",
        /// Once the release is live.
        After = "after",
        /// Asking whether it works.
        Health = "health",
        /// Putting the release before back.
        Rollback = "rollback",
    }
}

words! {
    /// How far a step is.
    StepStatus {
        /// Not begun.
        Pending = "pending",
        /// Under way.
        Running = "running",
        /// It worked.
        Succeeded = "succeeded",
        /// It did not.
        Failed = "failed",
        /// Its condition did not hold, or an earlier step failed.
        Skipped = "skipped",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// Its worker was lost while it ran.
        Lost = "lost",
    }
}
