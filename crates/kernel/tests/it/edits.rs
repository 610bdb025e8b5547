//! Other arguments for a call that is asked about: it is looked at and judged as a new one, in the same place.
use backstay_kernel::context::{Answer, Item, Note};
use backstay_kernel::decide::Decide;
use backstay_kernel::effect::{CallRef, Effect, Inspection};
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Flow, Named};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{BodyRef, Digest, EffectId};
use backstay_kernel::label::Label;
use backstay_kernel::limit::{Limit, Measure, Over};
use backstay_kernel::limits::{ASK_EXPIRES_MS, EDITS_MAX};
use backstay_kernel::policy::Role;
use backstay_kernel::record::{Judged, Mode, Reason, Record, Resolution, StopReason, Verdict};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::rule::{AT_HOME, Approvers, Field, Rule, RuleVerdict, Test, Who};
use backstay_kernel::session::{State, Work};
use backstay_kernel::tool::{EffectClass, Idempotency};
use backstay_kernel::words::Typed;
use backstay_kernel::{Input, Wait};

use crate::harness::{OWNER, TestSession, body, repeat, rule, warrant};

fn asked(calls: &[(&str, u8)]) -> TestSession {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(calls);
    t
}

/// As it is stored: another body for each arguments.
fn call(tool: &str, number: u8) -> CallRef {
    let calls = BodyRef { digest: Digest([number; 32]), ..body(730 + u64::from(number)) };
    CallRef { calls, index: 0, tool: Some(tool.to_owned()), repeat: repeat(tool, number) }
}

fn digest(t: &TestSession, effect: EffectId) -> Digest {
    let State::Asked { digest, .. } = t.effect(effect).state else { panic!("nobody is asked") };
    digest
}

fn word(t: &TestSession, effect: EffectId) -> Decide {
    let (by, role, channel, digest) = (OWNER.to_owned(), Role::Owner, AT_HOME.to_owned(), digest(t, effect));
    Decide { effect, digest, approve: true, by, role, channel, speaks: Speaks::Human, note: None }
}

/// Nothing of it is looked at yet.
fn edit(t: &mut TestSession, effect: EffectId, call: CallRef) -> Result<Vec<Record>, Refusal> {
    t.input(Input::Edit(word(t, effect), Some(call)))
}

fn edited(t: &mut TestSession, effect: EffectId, number: u8) {
    let tool = t.tool_of(effect).to_owned();
    edit(t, effect, call(&tool, number)).unwrap();
    t.settle();
}

fn code(refused: Result<Vec<Record>, Refusal>) -> Code {
    refused.unwrap_err().code
}

fn answers(t: &TestSession) -> Vec<Answer> {
    let results = t.session.items.iter().rev().find_map(|item| match item {
        Item::Results { answers, .. } => Some(answers.clone()),
        _ => None,
    });
    results.unwrap()
}

fn verdicts(t: &TestSession) -> Vec<Verdict> {
    let of = |record: &Record| match record {
        Record::Judged(Judged { verdict, .. }) => Some(verdict.clone()),
        _ => None,
    };
    t.records.iter().filter_map(of).collect()
}

#[test]
pub fn an_edited_call_is_looked_at_and_asked_about_anew_and_the_model_is_told() {
    let mut t = asked(&[("mail", 1)]);
    let effect = t.call("mail");
    let before = word(&t, effect);
    let records = edit(&mut t, effect, call("mail", 2)).unwrap();
    assert!(matches!(&records[..], [Record::Edited { by, .. }] if by == OWNER), "an edit is no yes: {records:?}");
    assert!(t.start(effect).is_err());
    assert_eq!(code(t.input(Input::Decide(before.clone()))), Code::AskClosed, "what was asked is asked no more");
    assert!(matches!(&t.open()[..], [Effect::Inspect { id, call: looked_at }]
        if *id == effect && *looked_at == call("mail", 2)));
    t.settle();
    assert_eq!(t.head().wait, Wait::Approval);
    assert_eq!(code(t.input(Input::Decide(before))), Code::WrongDigest, "a yes to the call before it is none to this");
    t.decide(effect, true).unwrap();
    assert!(t.open().iter().any(|open| matches!(open, Effect::Tool { call: made, .. } if *made == call("mail", 2))));
    t.done(effect, 1);
    let answer = Box::new(Answer::Body { body: body(601), warned: false });
    assert_eq!(answers(&t), [Answer::Edited { calls: call("mail", 2).calls, answer }]);
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
    t.assert_paired();
}

#[test]
pub fn no_edit_makes_a_call_of_what_the_rules_deny() {
    let mut t = asked(&[("mail", 1)]);
    let effect = t.call("mail");
    t.narrow(rule("no mail", RuleVerdict::Deny, &[(Field::Tool, Test::Equal("mail".into()))]));
    edited(&mut t, effect, 2);
    let answer = Box::new(Answer::Note(Note::Denied("no mail".into())));
    assert_eq!(answers(&t), [Answer::Edited { calls: call("mail", 2).calls, answer }]);
    // What a person has refused in this task is refused in an edit as well.
    let mut t = asked(&[("mail", 1), ("mail", 2)]);
    let first = t.call("mail");
    let first = *t.session.effects.keys().find(|id| **id != first).unwrap();
    t.decide(first, false).unwrap();
    t.settle();
    let second = t.call("mail");
    edited(&mut t, second, 1);
    let answer = Box::new(Answer::Note(Note::RefusedBefore));
    assert_eq!(answers(&t)[1], Answer::Edited { calls: call("mail", 1).calls, answer });
}

/// Rules let the agent of whoever spoke do it, and not who was asked about another call.
#[test]
pub fn what_no_rule_asks_about_asks_once_it_is_edited() {
    let mut t = TestSession::new();
    t.type_in(1);
    t.reply(&[("mail", 1)]);
    let effect = t.call("mail");
    t.agent().rules = vec![rule("any", RuleVerdict::Allow, &[(Field::Tool, Test::Equal("mail".into()))])].into();
    edited(&mut t, effect, 2);
    let State::Asked { by, .. } = &t.effect(effect).state else { panic!("it was let through") };
    assert_eq!(by, &Reason::Flow(Flow::Edited));
    t.decide(effect, true).unwrap();
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn another_tool_the_same_arguments_and_no_call_are_no_edit() {
    let mut t = asked(&[("mail", 1)]);
    let effect = t.call("mail");
    assert_eq!(code(edit(&mut t, effect, call("shell", 2))), Code::NotEditable);
    assert_eq!(code(edit(&mut t, effect, CallRef { tool: None, ..call("mail", 2) })), Code::NotEditable);
    assert_eq!(code(edit(&mut t, effect, call("mail", 1))), Code::NotEditable);
    let word = word(&t, effect);
    assert_eq!(code(t.input(Input::Edit(word, None))), Code::NotEditable);
    assert!(matches!(t.effect(effect).state, State::Asked { .. }) && t.effect(effect).edit.is_none());
    for number in 2..2 + EDITS_MAX {
        edited(&mut t, effect, u8::try_from(number).unwrap());
    }
    assert_eq!(code(edit(&mut t, effect, call("mail", 99))), Code::NotEditable, "it has an end");
    t.decide(effect, true).unwrap();
    assert!(t.start(effect).is_ok());
}

/// What is in doubt was what it was then, and has taken its shares.
#[test]
pub fn a_call_that_may_have_happened_stays_what_it_is() {
    let ask = || rule("ask", RuleVerdict::Ask, &[(Field::Tool, Test::Equal("shell".into()))]);
    let mut t = asked(&[("shell", 1)]);
    let effect = t.call("shell");
    t.crash();
    t.narrow(ask());
    t.resolve(effect, Resolution::Retry).unwrap();
    assert_eq!(code(edit(&mut t, effect, call("shell", 2))), Code::NotEditable);
    // Of one that may be made twice nothing is in doubt; its shares are taken all the same.
    let mut t = TestSession::new();
    t.policy.tools.get_mut("shell").unwrap().idempotency = Idempotency::Pure;
    t.say(1);
    t.reply(&[("shell", 1)]);
    let effect = t.call("shell");
    t.slots.tool = 0;
    t.narrow(ask());
    t.crash();
    assert!(!t.effect(effect).unsure && t.effect(effect).is_counted);
    assert_eq!(code(edit(&mut t, effect, call("shell", 2))), Code::NotEditable);
}

fn of_two() -> TestSession {
    let mut t = TestSession::new();
    let who = Who::Principals([OWNER, "bea", "cem", "dan"].map(str::to_owned).to_vec());
    let approvers = Approvers { quorum: 2, but_requester: true, ..who.into() };
    let mail = [(Field::Tool, Test::Equal("mail".into()))].into();
    t.agent().rules =
        vec![Rule { approvers, speaks: Some(Speaks::Human), ..Rule::new("two", RuleVerdict::Ask, mail) }].into();
    t.say(1);
    t.reply(&[("mail", 1)]);
    t
}

#[test]
pub fn whose_yes_would_not_count_edits_nothing_and_a_yes_to_what_was_is_none() {
    let mut t = of_two();
    let effect = t.call("mail");
    let of = |t: &TestSession, by: &str| Decide { by: by.to_owned(), role: Role::Approver, ..word(t, effect) };
    let mut refused = |word: Decide, why: Code| {
        let before = t.session.clone();
        assert_eq!(code(t.input(Input::Edit(word, Some(call("mail", 2))))), why);
        assert_eq!(t.session, before, "nothing is changed");
    };
    let bea = of(&of_two(), "bea");
    refused(Decide { by: OWNER.to_owned(), ..bea.clone() }, Code::NotAnApprover);
    refused(Decide { by: "eve".to_owned(), ..bea.clone() }, Code::NotAnApprover);
    refused(Decide { speaks: Speaks::Program, ..bea.clone() }, Code::NotAnApprover);
    refused(Decide { channel: "api".to_owned(), ..bea.clone() }, Code::WrongDoor);
    refused(Decide { digest: Digest([1; 32]), ..bea.clone() }, Code::WrongDigest);
    let mut late = of_two();
    late.now += ASK_EXPIRES_MS;
    assert_eq!(code(late.input(Input::Edit(bea.clone(), Some(call("mail", 2))))), Code::AskClosed);
    t.tell(Input::Decide(bea));
    let bea = of(&t, "bea");
    t.tell(Input::Edit(bea, Some(call("mail", 2))));
    t.settle();
    assert!(matches!(&t.effect(effect).state, State::Asked { yes, by_person: false, .. } if yes.is_empty()));
    t.tell(Input::Decide(of(&t, "cem")));
    assert!(t.start(effect).is_err(), "the yes before the edit is none");
    assert_eq!(code(t.input(Input::Decide(of(&t, "bea")))), Code::NotAnApprover, "it is what bea wrote");
    t.tell(Input::Decide(of(&t, "dan")));
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn an_edited_call_keeps_its_place_among_the_asks_and_counts_once() {
    let mut t = TestSession::new();
    t.agent().caps.asks_per_hour = 2;
    t.say(1);
    t.reply(&[("mail", 1), ("mail", 2)]);
    let asked = |t: &TestSession| -> Vec<EffectId> {
        t.session
            .effects
            .iter()
            .filter(|(_, open)| matches!(open.state, State::Asked { .. }))
            .map(|(id, _)| *id)
            .collect()
    };
    let first = asked(&t)[0];
    for number in 3..6 {
        t.now += 1_000;
        edit(&mut t, first, call("mail", number)).unwrap();
        assert!(asked(&t).is_empty() && t.advance().is_empty(), "what is parked waits on");
        t.settle();
        assert_eq!(asked(&t), [first]);
        let State::Asked { expires_at, at, .. } = t.effect(first).state else { panic!() };
        assert_eq!((expires_at, at), (t.now + ASK_EXPIRES_MS, t.now - u64::from(number - 2) * 1_000));
    }
    t.decide(first, true).unwrap();
    t.done(first, 1);
    assert_eq!(asked(&t).len(), 1, "the hour has had one ask");
}

#[test]
pub fn of_limits_an_edited_call_takes_what_it_is_when_it_starts_and_once() {
    let limit = Limit {
        measure: Measure::Count,
        per: Vec::new(),
        of_home: false,
        window_ms: 3_600_000,
        max: 1,
        currency: None,
        over: Over::Ask,
    };
    let when = [(Field::Tool, Test::Equal("shell".into()))].into();
    let mut t = TestSession::new();
    t.agent().rules = vec![Rule { limits: vec![limit], ..Rule::new("few", RuleVerdict::Allow, when) }].into();
    t.say(1);
    t.reply(&[("shell", 1)]);
    t.done(t.call("shell"), 1);
    t.reply(&[("shell", 2)]);
    let effect = t.call("shell");
    let row =
        |t: &TestSession| t.ledger.values().map(|used| (used.settled.tokens, used.reserved.tokens)).collect::<Vec<_>>();
    edited(&mut t, effect, 3);
    edited(&mut t, effect, 4);
    assert_eq!(row(&t), [(1, 0)], "nothing is held for what has not started");
    t.decide(effect, true).unwrap();
    assert_eq!(row(&t), [(1, 1)]);
    t.failed(effect);
    assert_eq!(row(&t), [(1, 0)], "given back once");
    t.now += 3_600_000;
    t.reply(&[("shell", 5)]);
    assert!(matches!(verdicts(&t).last(), Some(Verdict::Allow { .. })));
}

/// A person named whom it was to reach; whom the edit makes it reach nobody named.
#[test]
pub fn in_a_tainted_session_what_was_named_before_the_edit_names_nothing_after_it() {
    let mut t = TestSession::new();
    t.policy.tools.get_mut("mail").unwrap().arguments.clear();
    let message = t.message(1, Mode::Queue);
    t.tell(Input::Message(backstay_kernel::decide::Message { typed: Some(Typed::default()), ..message }));
    t.settle();
    t.reply(&[("read", 1)]);
    t.done(t.call("read"), 1);
    t.agent().rules = vec![rule("mails", RuleVerdict::Ask, &[(Field::Tool, Test::Equal("mail".into()))])].into();
    t.only_reply(&[("mail", 1)]);
    let effect = t.call("mail");
    let from = t.session.turn.as_ref().unwrap().said[0].seq;
    let found = |named| {
        let inspection = Inspection::Facts(Facts::new(EffectClass::Send, Vec::new()));
        Input::Inspected { effect, inspection, named }
    };
    t.tell(found(Named { warrant: Some(warrant(from, 1)), is_clear: true, ..Named::default() }));
    let by = |t: &TestSession| match &t.effect(effect).state {
        State::Asked { by, .. } => by.clone(),
        _ => panic!("nobody is asked"),
    };
    assert_eq!(by(&t), Reason::Rule("mails".into()), "the rule alone asks");
    edit(&mut t, effect, call("mail", 2)).unwrap();
    assert!(matches!(&t.effect(effect).work, Work::Tool { judged: None, .. }));
    t.settle();
    assert!(matches!(by(&t), Reason::Both { flow: Flow::UnnamedTarget, .. }), "{:?}", by(&t));
    assert!(t.session.turn.as_ref().unwrap().said.len() == 1, "an edit names nothing");
}

#[test]
pub fn what_a_person_writes_leaves_a_session_trusted_and_what_a_program_writes_does_not() {
    for (speaks, is_trusted) in [(Speaks::Human, true), (Speaks::Program, false)] {
        let mut t = TestSession::new();
        t.type_in(1);
        t.reply(&[("mail", 1)]);
        let effect = t.call("mail");
        assert!(t.session.label.is_trusted());
        let word = Decide { speaks, ..word(&t, effect) };
        t.tell(Input::Edit(word, Some(call("mail", 2))));
        assert_eq!(t.session.label.is_trusted(), is_trusted, "{speaks:?}");
        assert_eq!(t.session.turn.as_ref().unwrap().speaks, Some(speaks), "of what both have said");
        assert_eq!(t.records.last().unwrap().label(Label::NOTHING).unwrap().is_trusted(), is_trusted);
    }
}

#[test]
pub fn the_loop_detector_counts_the_call_that_was_made() {
    let mut t = TestSession::new();
    t.say(1);
    for _ in 0..3 {
        t.reply(&[("mail", 1)]);
        let effect = t.call("mail");
        edited(&mut t, effect, 2);
        t.decide(effect, true).unwrap();
        t.done(effect, 1);
    }
    assert_eq!(t.session.repeats_of(repeat("mail", 1), EffectId::default()), 0);
    assert_eq!(t.session.repeats_of(repeat("mail", 2), EffectId::default()), 3);
}

#[test]
pub fn an_edit_outlives_its_process_its_turn_and_ends_as_any_call() {
    let mut t = asked(&[("mail", 1), ("shell", 1)]);
    let effect = t.call("mail");
    edit(&mut t, effect, call("mail", 2)).unwrap();
    t.crash();
    assert!(matches!(&t.effect(effect).work, Work::Tool { call: now, .. } if *now == call("mail", 2)));
    assert_eq!(t.effect(effect).edit.as_ref().map(|edit| (edit.by.as_str(), edit.times)), Some((OWNER, 1)));
    t.cancel();
    t.settle();
    let told = answers(&t);
    assert!(
        matches!(&told[0], Answer::Edited { answer, .. } if **answer == Answer::Note(Note::NotStarted)),
        "{told:?}"
    );
    assert!(!matches!(told[1], Answer::Edited { .. }));
    t.assert_paired();
}
