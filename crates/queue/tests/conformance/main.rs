//! What both implementations of the ports promise, as one list of scenarios that runs on each.
//!
//! The Redis half needs `SLIPWAY_TEST_REDIS_URL`; it fails without, because a test that passes
//! without having run is worse than none.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod faults;
mod model;
mod outage;
mod rig;
mod scenarios;
mod security;

macro_rules! on_both {
    ($($module:ident: $($scenario:ident),+ $(,)?;)+) => {
        mod memory {
            use crate::{rig, scenarios};
            $($(#[tokio::test]
            async fn $scenario() {
                rig::on_memory(scenarios::$module::$scenario).await;
            })+)+
        }
        mod redis {
            use crate::{rig, scenarios};
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                rig::on_redis(scenarios::$module::$scenario).await;
            })+)+
        }
    };
}

on_both! {
    order:
        entries_of_one_target_run_one_at_a_time_in_order_of_id,
        targets_take_turns,
        many_claimers_share_the_work_without_overlap,
        an_entry_is_added_only_once,
        an_added_entry_is_told_its_place_in_the_line,
        several_entries_are_added_and_finished_as_one_after_the_other,
        a_full_index_takes_an_entry_only_by_force,
        a_finished_entry_can_be_added_again,
        a_waiting_entry_can_be_taken_out_by_the_database,
        depth_entries_and_targets_tell_what_there_is;
    leases:
        a_repeated_claim_gets_the_same_entry,
        no_more_run_than_may,
        claims_made_together_are_those_made_one_by_one,
        claims_made_together_stop_at_the_limit,
        repeated_claims_get_the_same_entries_and_the_others_new_ones,
        claims_made_together_take_one_entry_of_a_target,
        only_the_holder_of_a_lease_may_let_go_of_it,
        a_lease_that_ran_out_is_given_back_in_its_place,
        renewing_keeps_a_lease_and_names_the_lost_ones,
        a_late_renewal_counts_while_nobody_has_taken_the_entry,
        a_held_entry_blocks_its_target,
        holding_moves_an_entry_from_wherever_it_is;
    priorities:
        the_most_urgent_target_goes_first,
        order_within_a_target_is_by_id_whatever_the_priorities,
        a_target_competes_with_the_priority_of_its_next_entry,
        nothing_waits_for_ever_behind_a_steady_stream_of_urgent_work,
        a_share_that_is_due_goes_to_a_waiting_target_only,
        a_known_entry_takes_another_priority_wherever_it_is,
        a_rebuild_keeps_priorities,
        a_crowded_target_costs_the_others_nothing;
    retries:
        a_retry_keeps_newer_entries_of_its_target_waiting,
        a_retry_that_is_due_runs_first,
        an_older_entry_runs_before_a_retry_that_is_due,
        claims_tell_when_the_next_retry_is_due,
        a_requeued_entry_runs_again_at_once,
        a_delayed_entry_can_be_requeued_or_finished;
    rebuild:
        a_new_index_is_lost,
        a_wiped_index_answers_lost_to_everything,
        a_rebuild_restores_order_and_leases,
        one_of_two_rebuilds_wins,
        an_index_that_is_not_lost_is_not_rebuilt,
        restoring_outside_a_rebuild_is_refused,
        a_sound_index_needs_no_repair;
    wake:
        waiting_ends_when_an_entry_is_added,
        waiting_ends_when_a_finished_entry_frees_another,
        waiting_ends_when_room_is_made_under_the_limit,
        waiting_ends_with_its_time,
        every_waiter_hears_of_work;
    bus:
        a_hint_reaches_every_subscriber,
        hints_arrive_in_order,
        a_slow_reader_is_told_that_it_lost_hints;
}
