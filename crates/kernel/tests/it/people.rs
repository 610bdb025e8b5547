//! People: asks, answers, messages into a turn, stop, freeze, another policy.
use backstay_kernel::context::{Answer, Item, Note};
use backstay_kernel::decide::Decide;
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::{Access, PathFact, Tier};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, EffectId};
use backstay_kernel::policy::Role;
use backstay_kernel::record::{BounceReason, Mode, Reason, Record, StopReason};
use backstay_kernel::refusal::Code;
use backstay_kernel::rule::{AT_HOME, Approvers, Field, Rule, RuleVerdict, Test, Who};
use backstay_kernel::session::{Approved, JudgedFacts, State, Work};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::{Input, Wait, limits};

use crate::harness::{OWNER, TestSession, body, rule};

fn asked() -> TestSession {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("mail", 1)]);
    t
}

#[test]
pub fn an_ask_waits_has_a_moment_and_expires_as_a_no() {
    let mut t = asked();
    assert_eq!(t.head().wait, Wait::Approval);
    assert_eq!(t.head().wake_at, Some(t.now + limits::ASK_EXPIRES_MS));
    t.now += limits::ASK_EXPIRES_MS - 1;
    assert!(t.advance().is_empty());
    t.now += 1;
    t.settle();
    t.reply(&[]);
    assert_eq!(t.ends()[0].completion.refused.len(), 1);
    assert!(matches!(&t.session.items[2], Item::Results { answers, .. } if answers[0] == Answer::Note(Note::Expired)));
}

#[test]
pub fn an_approval_is_bound_to_its_digest_its_people_and_its_time() {
    let mut t = asked();
    let effect = t.call("mail");
    let State::Asked { digest, .. } = t.effect(effect).state else { panic!() };
    let word = |digest, role| {
        Input::Decide(Decide {
            effect,
            digest,
            approve: true,
            by: OWNER.to_owned(),
            role,
            channel: "cli".into(),
            speaks: Speaks::Program,
            note: None,
        })
    };
    assert_eq!(t.input(word(Digest([1; 32]), Role::Owner)).unwrap_err().code, Code::WrongDigest);
    assert_eq!(t.input(word(digest, Role::User)).unwrap_err().code, Code::NotAnApprover);
    let mut late = asked();
    late.now += limits::ASK_EXPIRES_MS;
    assert_eq!(late.input(word(digest, Role::Owner)).unwrap_err().code, Code::AskClosed);
    t.tell(word(digest, Role::Owner));
    assert!(t.start(effect).is_ok());
    assert_eq!(t.input(word(digest, Role::Owner)).unwrap_err().code, Code::AskClosed, "used");
}

/// A mail that a person said yes to, and that waits for a slot.
fn approved() -> (TestSession, EffectId) {
    let mut t = asked();
    t.slots.tool = 0;
    let effect = t.call("mail");
    t.decide(effect, true).unwrap();
    assert_eq!(t.effect(effect).state, State::Ready);
    (t, effect)
}

fn starts(mut t: TestSession, effect: EffectId) -> bool {
    t.slots.tool = 8;
    t.settle();
    t.session.effects.get(&effect).is_some_and(|open| matches!(open.state, State::Started { .. }))
}

/// Whatever of the action is not what it was when the yes was said, the yes is to something else.
#[test]
fn a_yes_is_to_this_action_and_to_no_other() {
    type Change = fn(&mut TestSession, EffectId);
    fn judged(t: &mut TestSession, effect: EffectId) -> (&mut CallRef, &mut JudgedFacts) {
        match &mut t.session.effects.get_mut(&effect).unwrap().work {
            Work::Tool { call, judged, .. } => (call, judged.as_mut().unwrap()),
            Work::Model { .. } => panic!("a call of a tool"),
        }
    }
    fn yes(t: &mut TestSession, effect: EffectId) -> &mut Approved {
        judged(t, effect).1.approved.as_mut().unwrap()
    }
    let changes: [(&str, Change); 17] = [
        ("home", |t, _| t.session.lineage += 1),
        ("session", |t, _| t.session.id.0[7] ^= 1),
        ("arguments", |t, effect| judged(t, effect).0.calls.digest.0[31] ^= 1),
        ("place in the reply", |t, effect| judged(t, effect).0.index += 1),
        ("tool", |t, effect| judged(t, effect).0.tool = Some("write".into())),
        ("class", |t, effect| judged(t, effect).1.facts.class = EffectClass::Spend),
        ("whether it can be taken back", |t, effect| judged(t, effect).1.facts.reversible = Some(true)),
        ("path", |t, effect| judged(t, effect).1.facts.paths.push(PathFact::new(Access::Read, "/w".into()))),
        ("bytes", |t, effect| judged(t, effect).1.facts.bytes_out = Some(7)),
        ("program", |t, effect| judged(t, effect).1.facts.programs = Box::new(["sh".into()])),
        ("sandbox", |t, effect| judged(t, effect).1.facts.tier = Some(Tier::Full)),
        ("declaration", |t, effect| judged(t, effect).1.facts.declared = Some(Box::new(Digest([1; 32])))),
        ("who named it", |t, effect| judged(t, effect).1.named.is_clear ^= true),
        ("why", |t, effect| yes(t, effect).by = Reason::Rule("another".into())),
        ("who answers", |t, effect| yes(t, effect).approvers.quorum += 1),
        ("until when", |t, effect| yes(t, effect).until += 1),
        ("policy", |t, _| t.policy.digest.0[0] ^= 1),
    ];
    let (t, effect) = approved();
    assert!(starts(t, effect));
    for (what, change) in changes {
        let (mut t, effect) = approved();
        change(&mut t, effect);
        assert!(!starts(t, effect), "{what}");
    }
}

/// A mail that takes two of four people, and not whoever asked for it.
fn asked_of_two() -> TestSession {
    let mut t = TestSession::new();
    let who = Who::Principals([OWNER, "bea", "cem", "dan"].map(str::to_owned).to_vec());
    let approvers = Approvers { quorum: 2, but_requester: true, ..who.into() };
    let mail = [(Field::Tool, Test::Equal("mail".into()))].into();
    t.agent().rules = vec![Rule { approvers, ..Rule::new("two", RuleVerdict::Ask, mail) }].into();
    t.say(1);
    t.reply(&[("mail", 1)]);
    t
}

fn yes_at(t: &TestSession, by: &str, channel: &str) -> Input {
    let effect = t.call("mail");
    let State::Asked { digest, .. } = t.effect(effect).state else { panic!("nobody is asked") };
    let (by, channel, role, speaks) = (by.to_owned(), channel.to_owned(), Role::Approver, Speaks::Program);
    Input::Decide(Decide { effect, digest, approve: true, by, role, channel, speaks, note: None })
}

#[test]
pub fn two_different_people_say_yes_and_neither_has_asked_for_it() {
    let mut t = asked_of_two();
    let effect = t.call("mail");
    let own = yes_at(&t, OWNER, AT_HOME);
    assert_eq!(t.input(own).unwrap_err().code, Code::NotAnApprover);
    let far = yes_at(&t, "bea", "api");
    assert_eq!(t.input(far).unwrap_err().code, Code::WrongDoor);
    let stranger = yes_at(&t, "eve", AT_HOME);
    assert_eq!(t.input(stranger).unwrap_err().code, Code::NotAnApprover);
    let records = t.tell(yes_at(&t, "bea", AT_HOME));
    assert!(matches!(&records[..], [Record::Decided { by: Some(by), .. }] if by == "bea"), "{records:?}");
    assert!(t.start(effect).is_err() && matches!(&t.effect(effect).state, State::Asked { yes, .. } if yes == &["bea"]));
    let again = yes_at(&t, "bea", AT_HOME);
    assert_eq!(t.input(again).unwrap_err().code, Code::AlreadyApproved);
    t.tell(yes_at(&t, "cem", AT_HOME));
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn a_no_ends_it_whoever_has_said_yes_and_wherever_it_is_said() {
    let mut t = asked_of_two();
    let effect = t.call("mail");
    t.tell(yes_at(&t, "bea", AT_HOME));
    let Input::Decide(no) = yes_at(&t, OWNER, "api") else { panic!() };
    t.tell(Input::Decide(Decide { approve: false, ..no }));
    t.settle();
    t.reply(&[]);
    assert_eq!(t.ends()[0].completion.refused, [effect]);
}

#[test]
pub fn a_yes_to_an_earlier_question_is_none_to_the_next() {
    let mut t = asked_of_two();
    let effect = t.call("mail");
    let late = yes_at(&t, "cem", AT_HOME);
    t.tell(yes_at(&t, "bea", AT_HOME));
    t.policy.epoch += 1;
    t.settle();
    assert!(matches!(&t.effect(effect).state, State::Asked { yes, .. } if yes.is_empty()), "asked anew");
    assert_eq!(t.input(late).unwrap_err().code, Code::WrongDigest);
    t.tell(yes_at(&t, "cem", AT_HOME));
    assert!(t.start(effect).is_err(), "one yes to this question");
}

#[test]
pub fn what_spends_is_said_yes_to_at_home() {
    let mut t = TestSession::new();
    t.policy.tools.get_mut("mail").unwrap().class = EffectClass::Spend;
    t.say(1);
    t.reply(&[("mail", 1)]);
    let of_owner = |t: &TestSession, channel| {
        let Input::Decide(yes) = yes_at(t, OWNER, channel) else { panic!() };
        Input::Decide(Decide { role: Role::Owner, ..yes })
    };
    let far = of_owner(&t, "api");
    assert_eq!(t.input(far).unwrap_err().code, Code::WrongDoor);
    t.tell(of_owner(&t, AT_HOME));
    assert!(t.start(t.call("mail")).is_ok());
}

/// Whatever its class: it deletes, say, or lets somebody in.
#[test]
pub fn what_cannot_be_taken_back_is_said_yes_to_at_home_and_denied_anywhere() {
    let said = |reversible: Option<bool>, channel: &str, approve| {
        let mut t = asked();
        let effect = t.call("mail");
        let Work::Tool { judged: Some(judged), .. } = &mut t.session.effects.get_mut(&effect).unwrap().work else {
            panic!("a call of a tool")
        };
        judged.facts.reversible = reversible;
        let Input::Decide(word) = yes_at(&t, OWNER, channel) else { panic!() };
        let word = Input::Decide(Decide { role: Role::Owner, approve, ..word });
        t.input(word).err().map(|refusal| refusal.code)
    };
    for (reversible, far) in [(Some(false), Some(Code::WrongDoor)), (Some(true), None), (None, None)] {
        for channel in ["api", "openai"] {
            assert_eq!(said(reversible, channel, true), far, "{reversible:?} {channel}");
            assert_eq!(said(reversible, channel, false), None, "a no is taken anywhere");
        }
        assert_eq!(said(reversible, AT_HOME, true), None);
    }
}

#[test]
pub fn a_rule_names_the_doors_where_a_yes_counts() {
    let mut t = TestSession::new();
    let approvers = Approvers { channels: vec!["api".into()], ..Approvers::owners() };
    let mail = [(Field::Tool, Test::Equal("mail".into()))].into();
    t.agent().rules = vec![Rule { approvers, ..Rule::new("there", RuleVerdict::Ask, mail) }].into();
    t.say(1);
    t.reply(&[("mail", 1)]);
    let effect = t.call("mail");
    assert_eq!(t.decide(effect, true).unwrap_err().code, Code::WrongDoor, "at home");
    let Input::Decide(yes) = yes_at(&t, OWNER, "api") else { panic!() };
    t.tell(Input::Decide(Decide { role: Role::Owner, ..yes }));
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn a_yes_that_waited_too_long_is_asked_for_again() {
    let mut t = asked();
    let effect = t.call("mail");
    t.slots.tool = 0;
    t.decide(effect, true).unwrap();
    assert_eq!(t.effect(effect).state, State::Ready);
    t.now += limits::ASK_EXPIRES_MS;
    t.slots.tool = 1;
    t.advance();
    assert!(matches!(t.effect(effect).state, State::Asked { .. }));
}

#[test]
pub fn a_start_whose_yes_runs_out_at_the_last_look_is_turned_back() {
    let mut t = asked();
    let effect = t.call("mail");
    t.decide(effect, true).unwrap();
    t.now += limits::ASK_EXPIRES_MS;
    let bounce = t.start(effect).unwrap_err();
    assert_eq!(bounce.reason, BounceReason::ApprovalGone);
    t.tell(Input::Bounced(bounce));
    assert!(matches!(t.effect(effect).state, State::Asked { .. }));
}

#[test]
pub fn a_no_is_told_and_the_turn_goes_on() {
    let mut t = asked();
    t.decide(t.call("mail"), false).unwrap();
    t.settle();
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
    assert_eq!(t.ends()[0].completion.refused.len(), 1);
}

#[test]
pub fn the_next_message_answers_a_question() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("question", 1)]);
    assert_eq!(t.head().wait, Wait::Question);
    let records = t.say(2);
    assert!(matches!(records[0], Record::Answered { .. }));
    t.reply(&[]);
    assert_eq!(t.ends()[0].completion.done.len(), 1);
    t.assert_paired();
}

#[test]
pub fn a_question_is_answered_once_by_its_id() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("question", 1)]);
    let effect = t.call("question");
    let answer = || Input::Answer { effect, body: body(5), by: OWNER.to_owned(), typed: None };
    t.tell(answer());
    assert_eq!(t.input(answer()).unwrap_err().code, Code::NoSuchQuestion);
}

#[test]
pub fn a_cancel_withdraws_a_question() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("question", 1)]);
    t.cancel();
    assert_eq!(t.ends()[0].completion.not_started.len(), 1);
    t.assert_paired();
}

#[test]
pub fn a_steering_message_joins_at_the_next_step_and_a_queued_one_waits() {
    let mut t = TestSession::new();
    t.say(1);
    t.send(2, Mode::Queue);
    t.send(3, Mode::Steer);
    t.reply(&[("read", 1)]);
    t.done(t.call("read"), 1);
    let users: Vec<u64> = t
        .session
        .items
        .iter()
        .filter_map(|item| match item {
            Item::User { body, .. } => Some(body.id),
            _ => None,
        })
        .collect();
    assert_eq!(users, [1, 3]);
    t.reply(&[]);
    t.settle();
    t.reply(&[]);
    assert_eq!(t.ends().len(), 2);
}

#[test]
pub fn a_steering_message_enters_the_turn_whose_last_word_was_on_its_way() {
    let mut t = TestSession::new();
    t.say(1);
    t.send(2, Mode::Queue);
    t.send(3, Mode::Steer);
    t.reply(&[]);
    assert!(t.ends().is_empty(), "it goes on with what steers");
    assert!(t.session.queue.iter().all(|waiting| waiting.mode == Mode::Queue));
    t.reply(&[]);
    assert_eq!(t.ends().iter().map(|end| end.reason).collect::<Vec<_>>(), [StopReason::Claimed]);
}

#[test]
pub fn an_interrupt_ends_the_turn_and_begins_its_own() {
    let mut t = asked();
    t.send(2, Mode::Interrupt);
    assert_eq!(t.ends()[0].reason, StopReason::StoppedByUser);
    assert_eq!(t.ends()[0].completion.not_started.len(), 1);
    t.reply(&[]);
    assert_eq!(t.ends().len(), 2);
    t.assert_paired();
}

#[test]
pub fn an_interrupt_goes_before_what_waited_longer_with_what_it_quotes() {
    let mut t = TestSession::new();
    t.say(1);
    t.say(2);
    let mut quoting = t.message(4, Mode::Interrupt);
    quoting.quoted = vec![body(3)];
    t.tell(Input::Message(quoting));
    let users = |t: &TestSession| -> Vec<u64> {
        let body = |item: &Item| if let Item::User { body, .. } = item { Some(body.id) } else { None };
        t.session.items.iter().filter_map(body).collect()
    };
    assert_eq!(users(&t), [1, 3, 4]);
    t.settle();
    t.reply(&[]);
    assert_eq!(users(&t), [1, 3, 4, 2], "nothing is lost");
}

#[test]
pub fn a_call_cancelled_between_its_intent_and_its_start_never_runs() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1)]);
    let effect = t.call("shell");
    t.cancel();
    t.say(2);
    let bounce = t.start(effect).unwrap_err();
    t.tell(Input::Bounced(bounce));
    assert!(!t.session.effects.contains_key(&effect));
    t.reply(&[]);
    assert_eq!(t.ends()[1].completion, Default::default(), "it is no call of the second turn");
    assert!(t.session.items.iter().any(|item| matches!(item, Item::Notice(_))));
}

#[test]
pub fn the_later_truth_never_stands_between_a_reply_and_its_results() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1)]);
    let first = t.call("shell");
    t.send(2, Mode::Interrupt);
    t.reply(&[("shell", 2)]);
    let second = t.call("shell");
    t.done(first, 1);
    t.done(second, 2);
    t.assert_paired();
    t.reply(&[]);
    assert_eq!(t.ends()[1].completion.done, [second]);
}

#[test]
pub fn what_was_turned_back_by_a_freeze_starts_after_it() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1)]);
    let effect = t.call("shell");
    t.switches.frozen = true;
    let bounce = t.start(effect).unwrap_err();
    assert_eq!(bounce.reason, BounceReason::Frozen);
    t.tell(Input::Bounced(bounce));
    assert!(t.settle().is_empty());
    t.switches.frozen = false;
    t.settle();
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn a_stopped_session_takes_nothing_and_goes_on_after_resume() {
    let mut t = asked();
    t.tell(Input::Stop { by: OWNER.to_owned() });
    t.assert_ended(StopReason::StoppedByUser);
    assert!(t.advance().is_empty());
    assert_eq!(t.head().wait, Wait::Stopped);
    let refusal = t.input(Input::Message(t.message(2, Mode::Queue))).unwrap_err();
    assert_eq!(refusal.code, Code::SessionStopped);
    t.tell(Input::Resume { by: OWNER.to_owned(), speaks: Speaks::Program });
    t.say(3);
    t.reply(&[]);
    assert_eq!(t.ends().len(), 2);
}

#[test]
pub fn another_policy_judges_again_what_was_asked_allowed_or_started() {
    let deny = || rule("no", RuleVerdict::Deny, &[(Field::Tool, Test::AnyOf(vec!["mail".into(), "shell".into()]))]);
    let mut t = asked();
    t.narrow(deny());
    t.settle();
    assert_eq!(t.session.effects.len(), 1, "only the next model call");
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1)]);
    let effect = t.call("shell");
    t.narrow(deny());
    let bounce = t.start(effect).unwrap_err();
    assert_eq!(bounce.reason, BounceReason::PolicyChanged);
    t.tell(Input::Bounced(bounce));
    t.settle();
    t.reply(&[]);
    assert_eq!(t.ends()[0].completion.refused, [effect]);
}

#[test]
pub fn changed_facts_are_looked_at_again() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("write", 1)]);
    let effect = t.call("write");
    t.tell(Input::Bounced(backstay_kernel::Bounce { effect, reason: BounceReason::FactsChanged }));
    assert_eq!(t.effect(effect).state, State::Planned);
    t.settle();
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn an_agent_or_principal_that_the_policy_drops_gets_nothing_more() {
    let mut t = TestSession::new();
    t.say(1);
    t.policy.principals.clear();
    t.reply(&[("read", 1)]);
    t.reply(&[]);
    assert_eq!(t.ends()[0].completion.refused.len(), 1);
    let mut t = asked();
    t.policy.agents.clear();
    t.advance();
    t.assert_ended(StopReason::Policy);
}
