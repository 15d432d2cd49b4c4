//! What made a deployment.

use crate::word::words;

words! {
    /// What made a deployment.
    Trigger {
        /// A person, in the browser or over the API.
        Manual = "manual",
        /// A person, to repeat one that ended badly.
        Retry = "retry",
        /// A push to the repository.
        Webhook = "webhook",
        /// The clock.
        Schedule = "schedule",
        /// A person, to bring an older release back.
        Rollback = "rollback",
    }
}
