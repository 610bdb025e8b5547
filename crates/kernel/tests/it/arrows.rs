//! Which record takes an effect from which state to which: the whole table. An arrow that no test
//! has seen fails, and so does one that the table does not have.
use std::collections::BTreeSet;

use crate::harness::{ARROWS, Arrow};
use crate::{backoff, limits, people, recovery};

const SCENARIOS: &[fn()] = &[
    backoff::a_retry_waits_and_nothing_is_sent_before_its_moment,
    backoff::after_ten_tries_the_provider_wait_doubles_up_to_ten_minutes_and_ends_after_a_day,
    backoff::ten_minutes_of_failing_are_enough_for_a_provider_wait,
    backoff::what_no_retry_can_help_ends_the_turn,
    backoff::a_cancel_ends_a_wait,
    limits::an_exact_repeat_is_told_the_third_time_blocked_the_fourth_and_ends_the_turn_the_fifth,
    limits::other_results_are_no_repeat_and_a_new_message_forgets,
    limits::a_tool_that_does_not_exist_ends_in_the_same_ladder,
    limits::a_model_that_insists_on_what_a_person_refused_is_stopped,
    limits::the_cap_on_steps_bites,
    limits::the_cap_on_tool_calls_bites_before_any_of_the_reply_runs,
    limits::working_time_is_capped_and_waiting_for_people_does_not_count,
    limits::a_turns_budget_bites_before_the_call,
    limits::a_sessions_budget_bites_across_turns,
    limits::a_shared_budget_bites_at_its_last_token,
    limits::a_bill_above_its_reservation_is_booked_flagged_and_blocks_the_next,
    limits::a_call_let_go_of_stays_booked_as_possibly_billed,
    limits::a_reply_with_too_many_calls_is_answered_without_looking,
    limits::the_queue_has_an_end_and_quoted_messages_do_not_fill_it,
    limits::a_request_too_large_for_the_provider_is_cut_down_once,
    limits::a_request_cut_down_still_counts_as_a_step,
    limits::the_window_drops_the_oldest_and_keeps_pairs_and_the_open_message,
    people::an_ask_waits_has_a_moment_and_expires_as_a_no,
    people::an_approval_is_bound_to_its_digest_its_people_and_its_time,
    people::a_yes_that_waited_too_long_is_asked_for_again,
    people::a_start_whose_yes_runs_out_at_the_last_look_is_turned_back,
    people::a_no_is_told_and_the_turn_goes_on,
    people::the_next_message_answers_a_question,
    people::a_question_is_answered_once_by_its_id,
    people::a_cancel_withdraws_a_question,
    people::a_steering_message_joins_at_the_next_step_and_a_queued_one_waits,
    people::an_interrupt_ends_the_turn_and_begins_its_own,
    people::a_call_cancelled_between_its_intent_and_its_start_never_runs,
    people::the_later_truth_never_stands_between_a_reply_and_its_results,
    people::what_was_turned_back_by_a_freeze_starts_after_it,
    people::a_stopped_session_takes_nothing_and_goes_on_after_resume,
    people::another_policy_judges_again_what_was_asked_allowed_or_started,
    people::changed_facts_are_looked_at_again,
    people::an_agent_or_principal_that_the_policy_drops_gets_nothing_more,
    recovery::pure_and_keyed_calls_and_model_calls_start_again,
    recovery::an_unsafe_call_is_in_doubt_and_every_resolution_ends_it,
    recovery::a_rule_may_settle_doubts,
    recovery::a_probed_call_asks_the_world,
    recovery::an_unknown_outcome_is_probed_doubted_or_told_by_class,
    recovery::a_queue_without_a_place_turns_a_model_call_back_and_frees_its_money,
    recovery::an_outcome_of_another_start_or_of_another_kind_is_none,
    recovery::a_started_unsafe_call_outlives_its_turn_and_its_truth_comes_later,
    recovery::a_lapsed_call_that_is_cancelled_is_unknown_not_unstarted,
    recovery::a_stopped_session_still_learns_what_became_of_a_dead_start,
    recovery::a_session_that_was_frozen_between_steps_is_found_at_start_up,
    recovery::a_restore_dooms_what_was_on_its_way_and_changes_keys,
    recovery::a_restore_dooms_what_was_ready_too,
    recovery::what_a_restore_doubted_before_it_was_looked_at_can_be_retried,
    recovery::a_model_call_in_a_backup_is_made_again,
];

const TABLE: &[Arrow] = &[
    ("asked", "decided", "gone"),
    ("asked", "decided", "ready"),
    ("asked", "doubted", "doubt"),
    ("asked", "ended", "gone"),
    ("asked", "judged", "gone"),
    ("backoff", "ended", "gone"),
    ("backoff", "started", "started"),
    ("doubt", "resolved", "gone"),
    ("doubt", "resolved", "planned"),
    ("doubt", "resolved", "ready"),
    ("none", "planned", "planned"),
    ("planned", "doubted", "doubt"),
    ("planned", "ended", "gone"),
    ("planned", "judged", "asked"),
    ("planned", "judged", "gone"),
    ("planned", "judged", "question"),
    ("planned", "judged", "ready"),
    ("planned", "started", "started"),
    ("probing", "doubted", "doubt"),
    ("probing", "ended", "gone"),
    ("probing", "resolved", "ready"),
    ("provider", "ended", "gone"),
    ("provider", "started", "started"),
    ("question", "answered", "gone"),
    ("question", "ended", "gone"),
    ("ready", "doubted", "doubt"),
    ("ready", "ended", "gone"),
    ("ready", "judged", "asked"),
    ("ready", "judged", "gone"),
    ("ready", "started", "started"),
    ("started", "bounced", "planned"),
    ("started", "bounced", "ready"),
    ("started", "doubted", "doubt"),
    ("started", "ended", "gone"),
    ("started", "lapsed", "planned"),
    ("started", "lapsed", "probing"),
    ("started", "lapsed", "ready"),
    ("started", "retried", "backoff"),
    ("started", "retried", "provider"),
];

#[test]
fn every_arrow_of_an_effects_life_is_walked() {
    ARROWS.with_borrow_mut(BTreeSet::clear);
    SCENARIOS.iter().for_each(|scenario| scenario());
    let seen = ARROWS.with_borrow(BTreeSet::clone);
    let table: BTreeSet<Arrow> = TABLE.iter().copied().collect();
    let unseen: Vec<_> = table.difference(&seen).collect();
    let unknown: Vec<_> = seen.difference(&table).collect();
    assert!(unseen.is_empty() && unknown.is_empty(), "unseen {unseen:#?}\nnot in the table {unknown:#?}");
}
