//! The protections, each taken away in turn: the simulation has to notice.

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The index is compared with the database only when a process starts.
    NoReconciler,
    /// Nothing is put right but when a process starts.
    OnlyBoot,
    /// Nobody takes back what a lost worker ran.
    NoReaper,
    /// A target takes every release, from however old or late a run.
    NoTargetFence,
    /// A target takes the release of a late run, if no newer one was there.
    NoDeadline,
    /// What a worker started goes on when the worker is dead or frozen.
    NoGuard,
    /// Neither the target's slot nor the order of a target's deployments is checked by a claim.
    NoSlotNoOrder,
    /// A target is free while its deployment waits for a retry, and its order is not checked.
    NoHoldNoOrder,
    /// The end of a run is written whoever runs it by now.
    UnfencedEnd,
}

impl Mutant {
    /// Whether it is a change to production's statements.
    pub(crate) fn rewrites(self) -> bool {
        matches!(
            self,
            Self::NoSlotNoOrder | Self::NoHoldNoOrder | Self::UnfencedEnd
        )
    }

    /// A statement without what is missing.
    pub(crate) fn rewrite(self, sql: &str) -> String {
        let no_order = matches!(self, Self::NoSlotNoOrder | Self::NoHoldNoOrder);
        if no_order && sql.contains("\"targets\".\"epoch\", \"targets\".\"holder_id\" FROM") {
            return sql.replace("\"targets\".\"holder_id\" FROM", "NULL FROM");
        }
        if no_order && sql.contains("AS \"queued\"") {
            // A claim looks for the first queued one of its target, then for one that runs.
            let in_state = "\"deployments\".\"status\" = ?";
            let states = if self == Self::NoSlotNoOrder { 2 } else { 1 };
            return sql.replacen(in_state, "(0 AND ? IS NULL)", states);
        }
        if self == Self::UnfencedEnd && sql.starts_with("UPDATE \"deployments\"") {
            return sql.replace("\"deployments\".\"fence\" = ?", "(1 OR ? IS NULL)");
        }
        sql.to_owned()
    }
}
