//! Named places between the steps of the queue's work where a test has its process abort.
//!
//! Only builds with debug assertions hold them; in a release a point is an empty function. One is
//! armed by `SLIPWAY_FAIL_POINT=name`, or `name:3` for the third time that it is passed.

/// Every point there is. Each is placed once, and what is placed is listed: a tidy test compares.
pub const POINTS: [&str; 62] = [
    // A request is accepted.
    "admission.before_trip",
    "admission.after_trip",
    "admission.before_bundle",
    "admission.after_bundle",
    "admission.before_insert",
    "admission.between_inserts",
    "admission.before_commit",
    "admission.after_commit",
    "admission.before_push",
    "admission.after_push",
    "admission.before_answer",
    // A worker takes what the index gave out.
    "claim.after_index",
    "claim.before_commit",
    "claim.after_commit",
    "claim.after_keep",
    // The database says something else than the index did.
    "claim.before_forget",
    "claim.before_hold",
    "claim.before_put_off",
    "claim.before_push_older",
    "claim.before_step_back",
    // A run.
    "run.before_prepare",
    "run.before_journal",
    "run.before_plan",
    "run.after_plan",
    "run.before_step_begins",
    "run.after_step_began",
    "run.before_step_ends",
    "run.after_step_ended",
    "run.before_switch",
    "run.within_switch",
    "run.after_switch",
    "run.before_live_commit",
    "run.after_live_commit",
    // Its end, however it ended.
    "finish.before_bundle",
    "finish.after_bundle",
    "finish.before_commit",
    "finish.after_commit",
    "finish.before_index",
    "finish.before_delay",
    "finish.before_return",
    "finish.after_index",
    // A message is sent.
    "notify.before_claim",
    "notify.after_claim",
    "notify.before_send",
    "notify.after_send",
    "notify.before_record",
    "notify.after_record",
    // A lease goes on.
    "renew.before_row",
    "renew.before_index",
    "renew.after_index",
    // A cancel.
    "cancel.before_index",
    "cancel.before_publish",
    // A worker was lost.
    "reaper.before_write",
    "reaper.before_commit",
    "reaper.before_index",
    // The index differs from the database.
    "reconciler.before_push",
    "reconciler.before_delay",
    "reconciler.before_hold",
    "reconciler.before_removal",
    // The index has lost its data.
    "rebuild.between_rows",
    "rebuild.before_epoch",
    "rebuild.after_epoch",
];

/// Aborts the process if this point is the armed one.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    armed::pass(name);
}

/// Does nothing: a release has no fail points.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn point(_name: &'static str) {}

#[cfg(not(debug_assertions))]
const _: () = point("a constant function can neither abort nor read a variable");

#[cfg(debug_assertions)]
pub use armed::arm;

/// Does nothing: a release has no fail points.
///
/// # Errors
/// Never.
#[cfg(not(debug_assertions))]
pub fn arm(_environment: &std::collections::BTreeMap<String, String>) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        collections::BTreeMap,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    use anyhow::{Context as _, bail};

    use super::POINTS;

    const VARIABLE: &str = "SLIPWAY_FAIL_POINT";

    static ARMED: OnceLock<Armed> = OnceLock::new();

    #[derive(Debug)]
    pub(super) struct Armed {
        name: String,
        /// How often it is still passed unharmed.
        spared: AtomicU32,
    }

    impl Armed {
        pub(super) fn parse(wanted: &str) -> anyhow::Result<Self> {
            let (name, time) = wanted.split_once(':').unwrap_or((wanted, "1"));
            if !POINTS.contains(&name) {
                bail!(
                    "{VARIABLE}: there is no point `{name}`; there are {}",
                    POINTS.join(", ")
                );
            }
            let time: u32 = time
                .parse()
                .ok()
                .filter(|time| *time > 0)
                .with_context(|| {
                    format!("{VARIABLE}: `{time}` after the colon is not a number from 1 on")
                })?;
            Ok(Self {
                name: name.to_owned(),
                spared: AtomicU32::new(time - 1),
            })
        }

        /// Whether this pass is the one.
        pub(super) fn is_due(&self, name: &str) -> bool {
            let less = |spared: u32| spared.checked_sub(1);
            self.name == name
                && self
                    .spared
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                    .is_err()
        }
    }

    /// Arms the point that the environment names, if it names one.
    ///
    /// # Errors
    /// When there is no such point.
    pub fn arm(environment: &BTreeMap<String, String>) -> anyhow::Result<()> {
        if let Some(wanted) = environment.get(VARIABLE).filter(|text| !text.is_empty()) {
            let armed = Armed::parse(wanted)?;
            // A process reads its settings once; whoever does so twice arms the same again.
            ARMED.get_or_init(|| armed);
        }
        Ok(())
    }

    pub(super) fn pass(name: &str) {
        if ARMED.get().is_some_and(|armed| armed.is_due(name)) {
            std::process::abort();
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::Armed;

    #[test]
    fn point_is_due_at_the_time_that_was_asked_for() {
        let armed = Armed::parse("claim.before_commit:3").unwrap();
        let passes = [
            "claim.before_commit",
            "claim.after_commit",
            "claim.before_commit",
            "claim.before_commit",
        ];
        assert_eq!(
            passes.map(|name| armed.is_due(name)),
            [false, false, false, true]
        );
    }

    #[test]
    fn unknown_point_and_number_are_named() {
        let error = |wanted| Armed::parse(wanted).unwrap_err().to_string();
        assert!(error("claim.nowhere").contains("no point `claim.nowhere`; there are admission."));
        for wanted in ["claim.before_commit:0", "claim.before_commit:often"] {
            assert!(error(wanted).contains("not a number from 1 on"), "{wanted}");
        }
    }
}
