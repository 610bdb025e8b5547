//! Caps, budgets and the loop detector bite, each at its own number.
use backstay_kernel::context::{Answer, Item, Note, Notice};
use backstay_kernel::effect::{FailureClass, Finish, Outcome};
use backstay_kernel::limits;
use backstay_kernel::mode::WorkMode;
use backstay_kernel::record::{Cap, LoopRule, Mode, Record, StopReason};
use backstay_kernel::{Input, Wait, refusal::Code};

use crate::harness::{TestSession, body, tokens};

/// One step of a model that always makes the same call and gets the same result.
fn repeat_once(t: &mut TestSession) {
    t.reply(&[("read", 1)]);
    if t.session.effects.values().any(|open| matches!(open.work, backstay_kernel::session::Work::Tool { .. })) {
        t.done(t.call("read"), 1);
    }
}

fn latest_answer(t: &TestSession) -> Answer {
    let results = t.session.items.iter().rev().find_map(|item| match item {
        Item::Results { answers, .. } => answers.first().cloned(),
        _ => None,
    });
    results.expect("results")
}

#[test]
pub fn an_exact_repeat_is_told_the_third_time_blocked_the_fourth_and_ends_the_turn_the_fifth() {
    let mut t = TestSession::new();
    t.say(1);
    for place in 1..=3 {
        repeat_once(&mut t);
        let warned = place == limits::REPEAT_WARN;
        assert_eq!(latest_answer(&t), Answer::Body { body: body(601), warned });
    }
    repeat_once(&mut t);
    assert_eq!(latest_answer(&t), Answer::Note(Note::Repeated));
    t.reply(&[("read", 1)]);
    t.assert_ended(StopReason::Loop(LoopRule::ExactRepeat));
    let started = t.records.iter().filter(|record| matches!(record, Record::Started(s) if s.request.is_none()));
    assert_eq!(started.count(), 3, "the fourth and the fifth never ran");
}

#[test]
pub fn other_results_are_no_repeat_and_a_new_message_forgets() {
    let mut t = TestSession::new();
    t.say(1);
    for result in 0..8 {
        t.reply(&[("read", 1)]);
        t.done(t.call("read"), result);
    }
    for _ in 0..3 {
        repeat_once(&mut t);
    }
    t.send(2, Mode::Steer);
    repeat_once(&mut t);
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
}

#[test]
pub fn a_tool_that_does_not_exist_ends_in_the_same_ladder() {
    let mut t = TestSession::new();
    t.say(1);
    for _ in 0..3 {
        t.reply(&[("nothing", 1)]);
        assert!(matches!(latest_answer(&t), Answer::Note(Note::Invalid { .. })));
    }
    t.reply(&[("nothing", 1)]);
    assert_eq!(latest_answer(&t), Answer::Note(Note::Repeated));
    t.reply(&[("nothing", 1)]);
    t.assert_ended(StopReason::Loop(LoopRule::ExactRepeat));
}

#[test]
pub fn a_model_that_insists_on_what_a_person_refused_is_stopped() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("mail", 1)]);
    t.decide(t.call("mail"), false).unwrap();
    t.settle();
    for _ in 0..2 {
        t.reply(&[("mail", 1)]);
        assert_eq!(latest_answer(&t), Answer::Note(Note::RefusedBefore), "nobody is asked a second time");
    }
    t.reply(&[("mail", 1)]);
    assert_eq!(latest_answer(&t), Answer::Note(Note::Repeated));
    t.reply(&[("mail", 1)]);
    t.assert_ended(StopReason::Loop(LoopRule::ExactRepeat));
}

/// A step with one call that nobody has made before, which fails or, where it cannot run, is refused.
fn fail_once(t: &mut TestSession, number: u8) {
    let tool = ["read", "nothing"][usize::from(number % 2)];
    t.reply(&[(tool, number)]);
    if tool == "read" {
        t.failed(t.call(tool));
    }
}

fn is_warned(t: &TestSession) -> bool {
    t.session.context().last() == Some(&Item::Notice(Notice::Failing))
}

#[test]
pub fn calls_that_all_fail_or_are_refused_are_told_of_and_end_the_turn_whatever_they_are() {
    let mut t = TestSession::new();
    t.say(1);
    for number in 1..=20 {
        assert_eq!(is_warned(&t), number > 10, "before call {number}");
        assert!(t.session.turn.is_some(), "before call {number}");
        fail_once(&mut t, number);
    }
    t.assert_ended(StopReason::Loop(LoopRule::FailingCalls));
    assert!(!is_warned(&t));
}

#[test]
pub fn a_call_that_is_done_and_a_message_begin_a_new_row_of_failing_calls() {
    for steers in [false, true] {
        let mut t = TestSession::new();
        t.say(1);
        for number in 1..=40 {
            fail_once(&mut t, number);
            if number % 19 == 0 {
                assert!(is_warned(&t));
                if steers {
                    t.send(2 + u64::from(number), Mode::Steer);
                } else {
                    t.reply(&[("read", 100 + number)]);
                    t.done(t.call("read"), 100 + number);
                    assert!(!is_warned(&t));
                }
            }
        }
        // What steers enters behind the calls of the reply that is under way.
        assert_eq!(t.session.turn.as_ref().unwrap().failing, 2 - u32::from(steers));
    }
}

#[test]
pub fn what_a_dry_run_holds_back_is_no_failing_call() {
    for (mode, goes_on) in [(WorkMode::DryRun, true), (WorkMode::ReadOnly, false)] {
        let mut t = TestSession::new();
        t.switches.mode = mode;
        t.say(1);
        for number in 1..=20 {
            t.reply(&[("post", number)]);
        }
        assert_eq!(t.session.turn.is_some(), goes_on, "{mode:?}");
    }
}

#[test]
pub fn the_cap_on_steps_bites() {
    let mut t = TestSession::new();
    t.agent().caps.steps = 2;
    t.say(1);
    for result in 0..2 {
        t.reply(&[("read", result)]);
        t.done(t.call("read"), result);
    }
    t.assert_ended(StopReason::Cap(Cap::Steps));
}

#[test]
pub fn the_cap_on_tool_calls_bites_before_any_of_the_reply_runs() {
    let mut t = TestSession::new();
    t.agent().caps.tool_calls = 2;
    t.say(1);
    t.reply(&[("shell", 1), ("shell", 2), ("shell", 3)]);
    t.assert_ended(StopReason::Cap(Cap::ToolCalls));
    assert_eq!(t.ends()[0].completion.not_started.len(), 3);
    t.assert_paired();
}

#[test]
pub fn working_time_is_capped_and_waiting_for_people_does_not_count() {
    let mut t = TestSession::new();
    t.agent().caps.wall_ms = 10_000;
    t.say(1);
    t.now += 4_000;
    t.reply(&[("mail", 1)]);
    t.now += 300_000;
    t.decide(t.call("mail"), true).unwrap();
    assert_eq!(t.ends().len(), 0);
    let wall_at = backstay_kernel::open::wall_at(&t.session, 10_000, t.now);
    assert_eq!(wall_at, Some(t.now + 6_000));
    t.now += 6_000;
    t.advance();
    t.assert_ended(StopReason::Cap(Cap::Wall));
    assert_eq!(t.ends()[0].completion.unknown.len(), 1, "the mail runs and nobody knows");
}

/// A request of 100 bytes and 1,000 tokens of output reserve 1,100; a reply is billed 60.
#[test]
pub fn a_turns_budget_bites_before_the_call() {
    for (most, passes) in [(1_159, false), (1_160, true)] {
        let mut t = TestSession::new();
        t.agent().budget.turn = tokens(most);
        t.say(1);
        t.reply(&[("read", 1)]);
        t.done(t.call("read"), 1);
        if passes {
            t.reply(&[]);
            t.say(2);
            t.reply(&[]);
            t.assert_ended(StopReason::Claimed);
        } else {
            t.assert_ended(StopReason::Cap(Cap::TurnBudget));
        }
    }
}

#[test]
pub fn a_sessions_budget_bites_across_turns() {
    let mut t = TestSession::new();
    t.policy.per_principal.session = tokens(1_159);
    t.say(1);
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
    t.say(2);
    t.assert_ended(StopReason::Cap(Cap::SessionBudget));
}

#[test]
pub fn a_shared_budget_bites_at_its_last_token() {
    for (used, passes) in [(8_901, false), (8_900, true)] {
        let mut t = TestSession::new();
        t.window(10_000, used, 0);
        t.say(1);
        if passes {
            assert_eq!(t.open().len(), 1);
        } else {
            t.assert_ended(StopReason::Cap(Cap::SharedBudget));
        }
    }
}

#[test]
pub fn what_others_have_only_reserved_is_waited_for_by_name() {
    let mut t = TestSession::new();
    t.window(10_000, 8_900, 1);
    t.say(1);
    assert_eq!((t.head().wait, t.head().open), (Wait::Budget, true));
    assert_eq!(t.head().wake_at, Some(t.now + 3_600_000), "the next window may have room");
    assert!(t.settle().is_empty(), "said once");
    t.window(10_000, 8_900, 0);
    t.settle();
    assert_eq!(t.head().wait, Wait::Running);
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
}

#[test]
pub fn a_wait_for_money_ends_with_the_turn_where_others_spend_it() {
    let mut t = TestSession::new();
    t.window(10_000, 8_900, 1);
    t.say(1);
    t.window(10_000, 8_901, 0);
    t.settle();
    t.assert_ended(StopReason::Cap(Cap::SharedBudget));
}

#[test]
pub fn a_wait_for_money_is_named_anew_each_hour_and_a_cancel_ends_it() {
    let mut t = TestSession::new();
    t.window(10_000, 8_900, 1);
    t.say(1);
    t.now += 3_600_000;
    assert!(matches!(t.settle()[..], [Record::Unfunded { until, .. }] if until == t.now + 3_600_000));
    t.cancel();
    t.assert_ended(StopReason::StoppedByUser);
    assert_eq!(t.session.reserved.tokens, 0);
}

#[test]
pub fn a_call_that_nobody_saw_the_end_of_is_a_repeat_too() {
    let mut t = TestSession::new();
    t.say(1);
    for _ in 1..limits::REPEAT_BLOCK {
        t.reply(&[("post", 1)]);
        t.outcome(t.call("post"), Outcome::Unknown);
    }
    t.reply(&[("post", 1)]);
    assert_eq!(latest_answer(&t), Answer::Note(Note::Repeated));
}

#[test]
pub fn a_bill_above_its_reservation_is_booked_flagged_and_blocks_the_next() {
    let mut t = TestSession::new();
    t.agent().budget.session = tokens(3_000);
    t.say(1);
    let usage = backstay_kernel::budget::Usage { uncached: 2_500, ..Default::default() };
    let outcome = Outcome::Replied { text: Some(body(1)), calls: Vec::new(), finish: Finish::Stop, usage: Some(usage) };
    let records = t.outcome(t.model(), outcome);
    assert!(format!("{records:?}").contains("overrun: true"));
    assert_eq!(t.session.spent.tokens, 2_500);
    t.say(2);
    t.assert_ended(StopReason::Cap(Cap::SessionBudget));
}

#[test]
pub fn a_bill_that_no_request_can_have_does_not_shut_the_window() {
    let mut t = TestSession::new();
    t.say(1);
    let usage = backstay_kernel::budget::Usage { uncached: 900_000, ..Default::default() };
    let outcome = Outcome::Replied { text: Some(body(1)), calls: Vec::new(), finish: Finish::Stop, usage: Some(usage) };
    t.outcome(t.model(), outcome);
    t.say(2);
    assert!(t.session.turn.is_some(), "the next turn ended before its call: {:?}", t.ends());
}

#[test]
pub fn a_call_let_go_of_stays_booked_as_possibly_billed() {
    let mut t = TestSession::new();
    t.say(1);
    t.cancel();
    t.assert_ended(StopReason::StoppedByUser);
    assert_eq!(t.session.reserved.tokens, 1_100);
    assert_eq!(t.ends()[0].spent.tokens, 1_100);
}

#[test]
pub fn a_reply_with_too_many_calls_is_answered_without_looking() {
    let mut t = TestSession::new();
    t.slots.tool = 0;
    t.say(1);
    let calls: Vec<(&str, u8)> = (0..=64).map(|arguments| ("read", arguments)).collect();
    let records = t.reply(&calls);
    let too_many = records.iter().filter(|r| format!("{r:?}").contains("TooMany")).count();
    assert_eq!(too_many, calls.len() - limits::CALLS_PER_STEP_MAX);
}

#[test]
pub fn the_queue_has_an_end_and_quoted_messages_do_not_fill_it() {
    let mut t = TestSession::new();
    let mut first = t.message(1, Mode::Queue);
    first.quoted = (100..200).map(body).collect();
    t.tell(Input::Message(first));
    t.settle();
    assert_eq!(t.session.items.len(), 101);
    let mut quoting = t.message(2, Mode::Queue);
    quoting.quoted = (200..300).map(body).collect();
    t.tell(Input::Message(quoting));
    for id in 1..limits::QUEUE_MAX as u64 {
        t.say(2 + id);
    }
    let refusal = t.input(Input::Message(t.message(99, Mode::Queue))).unwrap_err();
    assert_eq!(refusal.code, Code::QueueFull);
    t.send(99, Mode::Interrupt);
    assert!(matches!(t.session.items.back(), Some(Item::User { body, .. }) if body.id == 99));
    let refusal = t.input(Input::Message(t.message(98, Mode::Steer))).unwrap_err();
    assert_eq!(refusal.code, Code::QueueFull);
}

#[test]
pub fn a_request_too_large_for_the_provider_is_cut_down_once() {
    let mut t = TestSession::new();
    for id in 1..=4 {
        t.say(id);
        t.reply(&[]);
    }
    t.say(5);
    let before = t.session.items.len();
    t.fails(FailureClass::Shrink, None, 0);
    assert!(t.session.items.len() <= before / 2 + 1);
    assert!(t.session.turn.as_ref().is_some_and(|turn| turn.shrunk));
    t.fails(FailureClass::Shrink, None, 0);
    t.assert_ended(StopReason::ContextBlocked);
}

#[test]
pub fn a_request_cut_down_still_counts_as_a_step() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[]);
    t.agent().caps.steps = 1;
    t.say(2);
    t.fails(FailureClass::Shrink, None, 0);
    t.assert_ended(StopReason::Cap(Cap::Steps));
}

#[test]
pub fn the_window_drops_the_oldest_and_keeps_pairs_and_the_open_message() {
    let mut t = TestSession::new();
    t.policy.models.get_mut("m").unwrap().context_tokens = 1_400;
    t.say(1);
    for result in 0..40 {
        t.reply(&[("read", result)]);
        t.done(t.call("read"), result);
        t.assert_paired();
    }
    assert!(t.session.first_item > 0);
    let first = t.session.context().next();
    assert!(matches!(first, Some(Item::User { body: of, .. }) if of.id == 1), "{first:?}");
}

#[test]
pub fn only_the_latest_calls_are_remembered_as_repeats() {
    let mut t = TestSession::new();
    t.say(1);
    for (result, _) in (0u8..).zip(0..limits::REPEAT_WINDOW + 5) {
        t.reply(&[("read", result)]);
        t.done(t.call("read"), result);
    }
    assert_eq!(t.session.repeats.len(), limits::REPEAT_WINDOW);
}

/// Of 2,000 tokens 1,000 are for the reply, and 92 in a hundred of the rest are 920.
#[test]
pub fn before_the_first_bill_a_token_is_taken_for_three_bytes() {
    for (bytes, fits) in [(2_000, true), (2_760, false)] {
        let mut t = TestSession::new();
        t.policy.models.get_mut("m").unwrap().context_tokens = 2_000;
        let mut message = t.message(1, Mode::Queue);
        message.body.bytes = bytes;
        t.tell(Input::Message(message));
        t.settle();
        assert_eq!(t.session.turn.is_some(), fits, "{bytes} bytes");
        if !fits {
            t.assert_ended(StopReason::ContextBlocked);
        }
    }
}
