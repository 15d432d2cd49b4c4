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
    /// A target takes every release, from however old a run.
    NoTargetFence,
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

    /// A statement without what is missing; nothing for one that is left out and answers no rows.
    pub(crate) fn rewrite(self, sql: &str) -> Option<String> {
        let looks_for_older = sql.starts_with("SELECT")
            && sql.contains("\"deployments\".\"target_id\" = ?")
            && sql.contains("\"deployments\".\"id\" < ?");
        let looks_for_running = sql.starts_with("SELECT \"deployments\".\"id\" FROM")
            && sql.contains("\"deployments\".\"target_id\" = ? AND \"deployments\".\"status\" = ?");
        let without = |condition: &str| sql.replace(condition, "(1 OR ? IS NULL)");
        let no_order = matches!(self, Self::NoSlotNoOrder | Self::NoHoldNoOrder);
        if no_order && looks_for_older || self == Self::NoSlotNoOrder && looks_for_running {
            return None;
        }
        if no_order && sql.starts_with("UPDATE \"targets\"") {
            return Some(without(
                "(\"targets\".\"holder_id\" IS NULL OR \"targets\".\"holder_id\" >= ?)",
            ));
        }
        if self == Self::UnfencedEnd && sql.starts_with("UPDATE \"deployments\"") {
            return Some(without("\"deployments\".\"fence\" = ?"));
        }
        Some(sql.to_owned())
    }
}
