//! How often people are asked: one thing at a time, so much in an hour, no refused call twice, and not for ever.
use backstay_kernel::Input;
use backstay_kernel::asks::BY_DENIALS;
use backstay_kernel::context::{Answer, Item, Note};
use backstay_kernel::destination::{Audience, Destination, HostGrant, Method};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::EffectId;
use backstay_kernel::limits::{ASK_EXPIRES_MS, ASKS_MS, DENIALS_IN_A_ROW_MAX, DENIALS_MAX};
use backstay_kernel::record::{Completion, Mode, Record, StopReason};
use backstay_kernel::refusal::Code;
use backstay_kernel::rule::{Field, RuleVerdict, Test};
use backstay_kernel::session::State;
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::Url;
use backstay_kernel::{Wait, apply};

use crate::harness::{OWNER, TestSession, rule};

/// A turn with these mails, by number.
fn mails(numbers: &[u8]) -> TestSession {
    let mut t = TestSession::new();
    t.say(1);
    call_mails(&mut t, numbers);
    t
}

fn call_mails(t: &mut TestSession, numbers: &[u8]) {
    let calls: Vec<_> = numbers.iter().map(|number| ("mail", *number)).collect();
    t.reply(&calls);
}

fn asked(t: &TestSession) -> Vec<EffectId> {
    let asked = t.session.effects.iter().filter(|(_, open)| matches!(open.state, State::Asked { .. }));
    asked.map(|(id, _)| *id).collect()
}

fn parked(t: &TestSession) -> Vec<(EffectId, Option<u64>)> {
    let until = |state: &State| if let State::Parked { until, .. } = state { Some(*until) } else { None };
    t.session.effects.iter().filter_map(|(id, open)| Some((*id, until(&open.state)?))).collect()
}

/// What the open ask is answered with; the calls that follow from it are over at once.
fn answer(t: &mut TestSession, approve: bool) {
    let effect = asked(t)[0];
    t.decide(effect, approve).unwrap();
    if approve {
        t.done(effect, 1);
    }
    t.settle();
}

fn expiry(t: &TestSession, effect: EffectId) -> u64 {
    let State::Asked { expires_at, .. } = t.effect(effect).state else { panic!("nobody is asked") };
    expires_at
}

#[test]
pub fn one_ask_is_open_at_a_time_and_each_is_opened_when_the_one_before_is_answered() {
    let mut t = mails(&[1, 2, 3]);
    let first = asked(&t);
    assert_eq!((first.len(), parked(&t).len(), t.head().wait), (1, 2, Wait::Approval));
    let behind = parked(&t)[0].0;
    t.now += 60_000;
    assert!(t.decide_parked(behind).is_err_and(|refusal| refusal.code == Code::NoSuchAsk), "nobody was asked");
    answer(&mut t, true);
    assert_eq!((asked(&t), parked(&t).len()), (vec![behind], 1), "the oldest first");
    assert_eq!(expiry(&t, behind), t.now + ASK_EXPIRES_MS, "its time begins when it is opened");
    t.now += ASK_EXPIRES_MS;
    t.settle();
    assert_eq!((asked(&t).len(), parked(&t).len()), (1, 0), "silence makes room too");
    answer(&mut t, true);
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
    t.assert_paired();
}

#[test]
pub fn an_hour_has_room_for_so_many_asks_and_the_next_has_a_moment() {
    let mut t = TestSession::new();
    t.agent().caps.asks_per_hour = 2;
    t.say(1);
    let begun = t.now;
    call_mails(&mut t, &[1, 2, 3, 4]);
    t.now += 1_000;
    answer(&mut t, true);
    answer(&mut t, true);
    let until = Some(begun + ASKS_MS);
    assert_eq!(parked(&t).iter().map(|(_, until)| *until).collect::<Vec<_>>(), [until, until]);
    assert_eq!((t.head().wait, t.head().wake_at, t.head().people), (Wait::Parked, until, true));
    t.now = begun + ASKS_MS - 1;
    t.crash();
    assert!(asked(&t).is_empty() && t.advance().is_empty(), "a restart is no way around it");
    t.now += 1;
    t.settle();
    // The second ask was a second later, and the hour has it still.
    let until = Some(begun + 1_000 + ASKS_MS);
    assert_eq!((asked(&t).len(), parked(&t)[0].1), (1, until));
    answer(&mut t, true);
    assert_eq!((asked(&t).len(), t.head().wake_at), (0, until));
    t.now = begun + 1_000 + ASKS_MS;
    t.settle();
    assert_eq!(asked(&t).len(), 1);
}

#[test]
pub fn a_parked_call_is_judged_anew_and_ends_as_an_ask_does() {
    let mail = || vec![(Field::Tool, Test::Equal("mail".into()))];
    let mut t = mails(&[1, 2]);
    t.narrow(rule("no mail", RuleVerdict::Deny, &mail()));
    t.settle();
    assert_eq!((asked(&t).len(), parked(&t).len(), t.session.effects.len()), (0, 0, 1), "both are denied");
    let mut t = TestSession::new();
    t.agent().rules = vec![rule("posts", RuleVerdict::Ask, &[(Field::Tool, Test::Equal("post".into()))])].into();
    t.say(1);
    t.reply(&[("mail", 1), ("post", 2)]);
    let behind = parked(&t)[0].0;
    t.agent().rules.clear();
    t.policy.epoch += 1;
    t.settle();
    assert!(t.start(behind).is_ok(), "nobody need be asked any more");
    let mut t = mails(&[1, 2]);
    let (first, behind) = (asked(&t)[0], parked(&t)[0].0);
    t.cancel();
    let not_started = vec![first, behind];
    assert_eq!(t.ends()[0].completion, Completion { not_started, ..Completion::default() });
    let mut t = mails(&[1, 2]);
    t.input(Input::Lineage { old: 1, new: 2 }).unwrap();
    assert!(t.session.effects.values().all(|open| open.state == State::Doubt), "a copy may go on elsewhere");
}

#[test]
pub fn a_yes_that_waited_too_long_waits_for_room_as_any_other() {
    let mut t = TestSession::new();
    t.slots.tool = 0;
    t.say(1);
    call_mails(&mut t, &[1, 2, 3]);
    let first = asked(&t)[0];
    t.decide(first, true).unwrap();
    t.now += 1_000;
    let second = asked(&t)[0];
    t.decide(second, true).unwrap();
    let third = asked(&t);
    t.now += ASK_EXPIRES_MS - 1_000;
    t.advance();
    assert_eq!((asked(&t), parked(&t)), (third, vec![(first, None), (second, None)]));
}

#[test]
pub fn an_ask_that_another_policy_puts_anew_keeps_its_place_and_counts_once() {
    let mut t = TestSession::new();
    t.agent().caps.asks_per_hour = 2;
    t.say(1);
    call_mails(&mut t, &[1, 2, 3]);
    let opened = |t: &TestSession| {
        t.session
            .effects
            .values()
            .find_map(|open| if let State::Asked { at, .. } = open.state { Some(at) } else { None })
    };
    let first = opened(&t);
    assert_eq!(first, Some(t.now));
    for _ in 0..3 {
        t.policy.epoch += 1;
        t.now += 1_000;
        t.settle();
        assert_eq!((asked(&t).len(), parked(&t)[0].1, opened(&t)), (1, None, first));
    }
    answer(&mut t, true);
    assert_eq!(asked(&t).len(), 1, "the hour has room for its second");
}

fn last_answer(t: &TestSession) -> Answer {
    match t.session.items.back() {
        Some(Item::Results { answers, .. }) => answers.last().unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
pub fn a_refused_call_is_not_asked_about_again_in_its_task() {
    let to = |host: &str| {
        let url = Url::read(&format!("https://{host}/")).unwrap();
        Some((EffectClass::Send, Destination::of(&url, Method::Post, 0)))
    };
    let mut t = mails(&[1]);
    answer(&mut t, false);
    assert_eq!(last_answer(&t), Answer::Note(Note::Refused));
    call_mails(&mut t, &[1]);
    assert_eq!((asked(&t).len(), last_answer(&t)), (0, Answer::Note(Note::RefusedBefore)));
    call_mails(&mut t, &[2]);
    assert_eq!(asked(&t).len(), 1, "other arguments are another call");
    answer(&mut t, true);
    let hosts = ["a.test", "b.test"].map(|host| HostGrant {
        host: host.to_owned(),
        port: 443,
        methods: vec![Method::Post],
        path_prefix: "/".to_owned(),
        allow_private: Vec::new(),
        audience: Audience::Public,
        secrets: false,
        tunnel: false,
    });
    t.agent().grants.hosts = hosts.to_vec();
    t.policy.epoch += 1;
    t.goes = to("a.test");
    call_mails(&mut t, &[3]);
    answer(&mut t, false);
    t.goes = to("b.test");
    call_mails(&mut t, &[3]);
    assert_eq!(asked(&t).len(), 1, "it goes elsewhere now");
    answer(&mut t, true);
    t.goes = None;
    t.reply(&[]);
    t.say(9);
    call_mails(&mut t, &[1]);
    assert_eq!(asked(&t).len(), 1, "another task is another question");
}

#[test]
pub fn two_equal_calls_of_one_reply_are_asked_about_once_where_the_answer_is_no() {
    let mut t = mails(&[1, 1]);
    assert_eq!((asked(&t).len(), parked(&t).len()), (1, 1));
    answer(&mut t, false);
    assert_eq!(last_answer(&t), Answer::Note(Note::RefusedBefore));
}

#[test]
pub fn what_nobody_answered_may_be_asked_again() {
    let mut t = mails(&[1]);
    t.now += ASK_EXPIRES_MS;
    t.settle();
    call_mails(&mut t, &[1]);
    assert_eq!(asked(&t).len(), 1);
}

#[test]
pub fn three_noes_in_a_row_end_the_turn_and_a_yes_begins_a_new_row() {
    let mut t = mails(&[1, 2, 3, 4, 5, 6]);
    t.agent().caps.asks_per_hour = 100;
    t.policy.epoch += 1;
    for approve in [false, false, true, false] {
        answer(&mut t, approve);
    }
    assert_eq!(asked(&t).len(), 1, "two, and one after a yes, are no row");
    t.now += ASK_EXPIRES_MS;
    t.settle();
    let third = asked(&t)[0];
    answer(&mut t, false);
    t.assert_ended(StopReason::Denials);
    let Completion { done, refused, not_started, .. } = &t.ends()[0].completion;
    assert_eq!((done.len(), refused.len(), not_started.len()), (1, 5, 0));
    assert!(refused.contains(&third) && !t.session.stopped && t.head().wait == Wait::Idle);
    t.say(2);
    call_mails(&mut t, &[7]);
    answer(&mut t, false);
    assert!(t.session.turn.is_some(), "its row is over with it");
}

#[test]
pub fn a_row_goes_on_over_turns_that_end_by_themselves() {
    let mut t = mails(&[1]);
    for message in 2..=u64::from(DENIALS_IN_A_ROW_MAX) {
        answer(&mut t, false);
        t.reply(&[]);
        t.say(message);
        call_mails(&mut t, &[1]);
    }
    answer(&mut t, false);
    t.assert_ended(StopReason::Denials);
}

#[test]
pub fn twenty_noes_stop_the_session_until_a_person_lets_it_go_on() {
    let mut t = TestSession::new();
    t.agent().caps.asks_per_hour = 100;
    t.policy.epoch += 1;
    let resume = |speaks| Input::Resume { by: OWNER.to_owned(), speaks };
    for no in 0..DENIALS_MAX {
        if no == DENIALS_MAX - 1 {
            t.tell(Input::Stop { by: OWNER.to_owned() });
            t.settle();
            t.tell(resume(Speaks::Program));
        }
        if t.session.turn.is_none() {
            t.say(u64::from(no) + 1);
        }
        // A yes in between takes nothing back of the sum.
        call_mails(&mut t, &[200]);
        answer(&mut t, true);
        t.session.repeats.clear();
        call_mails(&mut t, &[u8::try_from(no).unwrap()]);
        assert!(!t.session.stopped, "{no} are not too many");
        answer(&mut t, false);
    }
    t.assert_ended(StopReason::Denials);
    assert!(matches!(t.records.last(), Some(Record::Stopped { by }) if by == BY_DENIALS));
    assert_eq!(t.head().wait, Wait::Stopped);
    let refusal = t.input(Input::Message(t.message(90, Mode::Queue))).unwrap_err();
    assert!(refusal.code == Code::SessionStopped && refusal.message.contains("20 of its asks"), "{refusal}");
    assert_eq!(t.input(resume(Speaks::Program)).unwrap_err().code, Code::NotAnApprover);
    t.tell(resume(Speaks::Human));
    t.say(91);
    call_mails(&mut t, &[201]);
    answer(&mut t, false);
    assert!(!t.session.stopped && t.session.turn.is_some(), "the count begins anew");
}

#[test]
fn the_fold_alone_knows_what_was_asked() {
    let mut t = mails(&[1, 2]);
    answer(&mut t, false);
    let mut again = backstay_kernel::Session::new(t.session.id);
    t.records.iter().for_each(|record| apply(&mut again, record));
    assert_eq!(again, t.session);
}
