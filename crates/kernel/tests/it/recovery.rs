//! Dead processes, doubts, probes, restores.
use backstay_kernel::budget::{Amount, LedgerEntry};
use backstay_kernel::destination::{Audience, Connection, Destination, HostGrant, Method};
use backstay_kernel::effect::{Effect, Outcome, Probed};
use backstay_kernel::id::Seq;
use backstay_kernel::policy::InDoubt;
use backstay_kernel::record::{Completion, Mode, Record, Resolution, StopReason};
use backstay_kernel::session::State;
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::Url;
use backstay_kernel::{Input, Wait, limits, permit::idempotency_key};

use crate::harness::{OWNER, TestSession, record_word};

fn started(tool: &str) -> TestSession {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[(tool, 1)]);
    t
}

#[test]
pub fn pure_and_keyed_calls_and_model_calls_start_again() {
    for tool in ["read", "post"] {
        let mut t = started(tool);
        let effect = t.call(tool);
        let key = t.start(effect).unwrap().key();
        t.crash();
        let permit = t.start(effect).unwrap();
        assert_eq!((permit.attempt(), permit.key()), (2, key));
    }
    let mut t = TestSession::new();
    t.say(1);
    t.crash();
    assert_eq!(t.start(t.model()).unwrap().attempt(), 2);
    assert_eq!(t.session.reserved.tokens, 2_200, "the first may still be billed");
}

#[test]
pub fn an_unsafe_call_is_in_doubt_and_every_resolution_ends_it() {
    for (resolution, left) in [(Resolution::Done, false), (Resolution::NotDone, false), (Resolution::Retry, true)] {
        let mut t = started("shell");
        let effect = t.call("shell");
        t.crash();
        assert_eq!(t.head().wait, Wait::Doubt);
        assert!(t.start(effect).is_err());
        t.resolve(effect, resolution).unwrap();
        assert_eq!(t.session.effects.contains_key(&effect), left);
        assert_eq!(t.start(effect).is_ok(), left);
        assert!(t.resolve(effect, resolution).is_err(), "a doubt is resolved once");
    }
}

#[test]
pub fn a_rule_may_settle_doubts() {
    for (rule, done) in [(InDoubt::AssumeDone, true), (InDoubt::AssumeNotDone, false)] {
        let mut t = started("shell");
        t.agent().in_doubt = rule;
        t.crash();
        t.reply(&[]);
        assert_eq!(t.ends()[0].completion.done.len(), usize::from(done));
        assert_eq!(t.ends()[0].completion.failed.len(), usize::from(!done));
    }
}

#[test]
pub fn a_probed_call_asks_the_world() {
    for found in [Probed::Done, Probed::NotDone, Probed::Neither] {
        let mut t = started("write");
        let effect = t.call("write");
        t.crash();
        assert_eq!(t.effect(effect).state, State::Probing);
        assert!(t.start(effect).is_err());
        t.probed(effect, found);
        match found {
            Probed::Done => assert!(!t.session.effects.contains_key(&effect)),
            Probed::NotDone => assert_eq!(t.start(effect).unwrap().attempt(), 2),
            Probed::Neither => assert_eq!(t.effect(effect).state, State::Doubt),
        }
    }
}

#[test]
pub fn an_unknown_outcome_is_probed_doubted_or_told_by_class() {
    for (tool, state) in [("write", Some(State::Probing)), ("shell", Some(State::Doubt)), ("post", None)] {
        let mut t = started(tool);
        let effect = t.call(tool);
        t.outcome(effect, Outcome::Unknown);
        assert_eq!(t.session.effects.get(&effect).map(|open| open.state.clone()), state);
    }
    let mut t = TestSession::new();
    t.say(1);
    t.outcome(t.model(), Outcome::Unknown);
    assert_eq!(t.start(t.model()).unwrap().attempt(), 2);
}

#[test]
pub fn a_second_attempt_that_fails_says_nothing_of_the_first() {
    for (tool, class, list) in [
        ("post", EffectClass::Write, |completion: &Completion| completion.unknown.clone()),
        ("post", EffectClass::Read, |completion: &Completion| completion.failed.clone()),
    ] as [(_, _, fn(&Completion) -> _); 2]
    {
        let mut t = TestSession::new();
        t.policy.tools.get_mut(tool).unwrap().class = class;
        t.say(1);
        t.reply(&[(tool, 1)]);
        let effect = t.call(tool);
        t.crash();
        t.failed(effect);
        t.reply(&[]);
        assert_eq!(list(&t.ends()[0].completion), [effect], "{class:?}");
    }
}

#[test]
pub fn a_call_past_its_limit_is_awaited_where_it_could_still_act_and_told_as_unknown_elsewhere() {
    for (tool, awaited) in [("write", true), ("shell", true), ("post", false), ("read", false)] {
        let mut t = started(tool);
        let effect = t.call(tool);
        let State::Started { seq, .. } = t.effect(effect).state else { panic!() };
        t.outcome(effect, Outcome::Overdue);
        assert_eq!(t.session.effects.contains_key(&effect), awaited, "{tool}");
        if !awaited {
            continue;
        }
        assert_eq!((t.head().wait, t.head().open, t.head().people), (Wait::Overdue, true, false));
        assert!(t.open().iter().any(|open| open.id() == effect), "it is not let go of");
        assert!(t.tell(Input::Probed { effect, found: Probed::NotDone }).is_empty());
        assert!(t.resolve(effect, Resolution::Retry).is_err());
        assert!(
            t.tell(Input::Ended { effect, started: seq, outcome: Outcome::Overdue, connections: Vec::new() })
                .is_empty(),
            "once"
        );
        t.done(effect, 1);
        t.reply(&[]);
        assert_eq!(t.ends()[0].completion.done, [effect]);
    }
}

#[test]
pub fn a_call_past_its_limit_outlives_its_turn_and_its_process_as_any_other() {
    for (tool, state) in [("write", State::Probing), ("shell", State::Doubt)] {
        let mut t = started(tool);
        let effect = t.call(tool);
        t.outcome(effect, Outcome::Overdue);
        t.cancel();
        assert_eq!(t.ends()[0].completion.unknown, [effect]);
        t.crash();
        assert_eq!(t.effect(effect).state, state);
    }
    let mut t = started("write");
    t.outcome(t.call("write"), Outcome::Overdue);
    t.agent().caps.wall_ms = 1_000;
    t.now += 1_000;
    t.settle();
    t.assert_ended(StopReason::Cap(backstay_kernel::record::Cap::Wall));
}

#[test]
pub fn a_call_whose_end_nobody_sees_is_not_started_for_ever() {
    for (tool, done, unknown) in [("write", 0, 0), ("post", 0, 1), ("read", 0, 1)] {
        let mut t = started(tool);
        let effect = t.call(tool);
        while t.session.effects.contains_key(&effect) {
            if tool == "write" {
                t.outcome(effect, Outcome::Unknown);
                t.probed(effect, Probed::NotDone);
            } else {
                t.crash();
            }
        }
        let starts = t.records.iter().filter(|record| matches!(record, Record::Started(s) if s.effect == effect));
        assert_eq!(u32::try_from(starts.count()), Ok(limits::LAPSES_MAX), "{tool}");
        t.settle();
        t.reply(&[]);
        let end = &t.ends()[0].completion;
        assert_eq!((end.done.len(), end.unknown.len(), end.failed.len()), (done, unknown, 1 - unknown), "{tool}");
    }
}

#[test]
pub fn a_model_call_turned_back_and_then_cancelled_gives_its_money_back() {
    let mut t = TestSession::new();
    t.window(10_000, 0, 0);
    t.say(1);
    t.switches.frozen = true;
    let (model, bounce) = (t.model(), t.start(t.model()).unwrap_err());
    // Both come in before the kernel is asked what follows.
    let frame = t.frame();
    let records = backstay_kernel::decide(&t.session, Input::Cancel { turn: None, by: OWNER.to_owned() }, &frame);
    let mut session = t.session.clone();
    records.unwrap().iter().for_each(|record| backstay_kernel::apply(&mut session, record));
    let records = backstay_kernel::decide(&session, Input::Bounced(bounce), &frame).unwrap();
    let settled = backstay_kernel::ledger::entries(&session, &records[0], &frame.allowance);
    assert!(matches!(settled[..], [LedgerEntry::Settle { spent: Amount::ZERO, .. }]), "{settled:?}");
    records.iter().for_each(|record| backstay_kernel::apply(&mut session, record));
    assert!(!session.effects.contains_key(&model));
    assert_eq!(session.reserved, Amount::ZERO);
}

#[test]
pub fn what_ends_without_a_bill_is_no_longer_reserved_for_others() {
    let mut t = TestSession::new();
    t.window(10_000, 0, 0);
    t.say(1);
    let lapsed = Record::Lapsed { effect: t.model(), boot: backstay_kernel::id::Boot(1) };
    let booked = backstay_kernel::ledger::entries(&t.session, &lapsed, &t.allowance);
    assert!(matches!(&booked[..], [LedgerEntry::Settle { reserved, spent, .. }] if reserved == spent), "{booked:?}");
}

#[test]
pub fn a_queue_without_a_place_turns_a_model_call_back_and_frees_its_money() {
    let mut t = TestSession::new();
    t.say(1);
    let state = t.effect(t.model()).state.clone();
    t.slots.model = 0;
    t.outcome(t.model(), Outcome::NotStarted);
    assert_ne!(t.effect(t.model()).state, state);
    assert_eq!(t.session.reserved.tokens, 0);
}

/// What was reached is written with the end that it belongs to, whatever that is, and with no other.
#[test]
pub fn connections_are_recorded_with_the_end_of_their_call() {
    let made = || Connection {
        host: "a.test".into(),
        port: 443,
        address: [192, 0, 2, 1].into(),
        sent: 1,
        received: 2,
        secret: None,
    };
    for (outcome, then) in [(Outcome::Unknown, "doubted"), (Outcome::NotStarted, "ended")] {
        let mut t = started("mail");
        let effect = t.call("mail");
        if let State::Asked { .. } = t.effect(effect).state {
            t.decide(effect, true).unwrap();
        }
        let State::Started { seq, .. } = t.effect(effect).state else { panic!() };
        let stale =
            Input::Ended { effect, started: Seq(seq.0 - 1), outcome: outcome.clone(), connections: vec![made()] };
        assert!(t.tell(stale).is_empty());
        let records = t.tell(Input::Ended { effect, started: seq, outcome, connections: vec![made()] });
        let words: Vec<&str> = records.iter().map(record_word).collect();
        assert_eq!(words.get(..2), Some(&["connected", then][..]), "{records:?}");
    }
}

/// A request that only asks may be made again, though its tool can send.
#[test]
pub fn a_question_to_a_host_is_asked_again_after_a_crash_and_a_send_is_in_doubt() {
    let url = Url::read("https://a.test/").unwrap();
    for (method, class, again) in [(Method::Get, EffectClass::Read, true), (Method::Post, EffectClass::Send, false)] {
        let mut t = TestSession::new();
        let get = vec![Method::Get, Method::Post];
        let host = HostGrant {
            host: "a.test".into(),
            port: 443,
            methods: get,
            path_prefix: "/".into(),
            allow_private: Vec::new(),
            audience: Audience::Public,
            secrets: false,
            tunnel: false,
        };
        t.agent().grants.hosts = vec![host];
        t.goes = Some((class, Destination::of(&url, method, 0)));
        t.say(1);
        t.reply(&[("mail", 1)]);
        let effect = t.call("mail");
        if let State::Asked { .. } = t.effect(effect).state {
            t.decide(effect, true).unwrap();
        }
        t.start(effect).unwrap();
        t.crash();
        assert_eq!(matches!(t.effect(effect).state, State::Started { .. }), again, "{method:?}");
    }
}

#[test]
pub fn an_outcome_of_another_start_or_of_another_kind_is_none() {
    let mut t = started("shell");
    let effect = t.call("shell");
    let State::Started { seq, .. } = t.effect(effect).state else { panic!() };
    let before = t.session.clone();
    for (started, outcome) in [
        (Seq(seq.0 - 1), Outcome::Unknown),
        (
            seq,
            Outcome::Replied {
                text: None,
                calls: Vec::new(),
                finish: backstay_kernel::effect::Finish::Stop,
                usage: None,
            },
        ),
    ] {
        assert!(t.tell(Input::Ended { effect, started, outcome, connections: Vec::new() }).is_empty());
    }
    assert_eq!(t.session, before);
}

#[test]
pub fn a_started_unsafe_call_outlives_its_turn_and_its_truth_comes_later() {
    let mut t = started("shell");
    let effect = t.call("shell");
    t.start(effect).unwrap();
    t.cancel();
    assert_eq!(t.ends()[0].completion.unknown, [effect]);
    t.say(2);
    t.crash();
    assert_eq!(t.effect(effect).state, State::Doubt);
    assert!(t.resolve(effect, Resolution::Retry).is_err(), "its turn is over, another one is open");
    t.resolve(effect, Resolution::Done).unwrap();
    t.reply(&[]);
    assert_eq!(t.ends()[1].completion, Default::default());
    t.assert_paired();
}

#[test]
pub fn a_lapsed_call_that_is_cancelled_is_unknown_not_unstarted() {
    let mut t = started("post");
    let effect = t.call("post");
    t.slots.tool = 0;
    t.crash();
    assert_eq!(t.effect(effect).state, State::Ready);
    t.cancel();
    assert_eq!(t.ends()[0].completion.unknown, [effect]);
}

#[test]
pub fn a_stopped_session_still_learns_what_became_of_a_dead_start() {
    let mut t = started("shell");
    t.tell(Input::Stop { by: String::new() });
    assert!(t.head().open, "start-up must look at it");
    t.crash();
    assert_eq!(t.head().wait, Wait::Stopped);
    assert!(t.head().people);
}

#[test]
pub fn a_session_that_was_frozen_between_steps_is_found_at_start_up() {
    let mut t = started("shell");
    let old = t.call("shell");
    t.send(2, Mode::Interrupt);
    t.crash();
    assert_eq!(t.effect(old).state, State::Doubt);
    t.reply(&[("read", 1)]);
    t.switches.frozen = true;
    t.done(t.call("read"), 1);
    assert!(t.head().open, "an old doubt must not hide the turn that goes on");
}

#[test]
pub fn a_restore_dooms_what_was_on_its_way_and_changes_keys() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1), ("post", 1), ("write", 1), ("mail", 1), ("read", 1)]);
    let key = |t: &TestSession| idempotency_key(t.session.lineage, t.session.id, t.call("post"));
    let before = key(&t);
    t.tell(Input::Lineage { old: 1, new: 2 });
    t.crash();
    for tool in ["shell", "post", "write", "mail"] {
        assert_eq!(t.effect(t.call(tool)).state, State::Doubt, "{tool}");
        assert!(t.start(t.call(tool)).is_err());
    }
    assert!(t.start(t.call("read")).is_ok());
    assert_ne!(key(&t), before);
    assert!(t.tell(Input::Lineage { old: 1, new: 2 }).is_empty(), "once");
    t.done(t.call("read"), 1);
    for tool in ["shell", "post", "write", "mail"] {
        t.resolve(t.call(tool), Resolution::NotDone).unwrap();
    }
    t.settle();
    t.assert_paired();
}

#[test]
pub fn a_restore_dooms_what_was_ready_too() {
    let mut t = TestSession::new();
    t.slots.tool = 0;
    t.say(1);
    t.reply(&[("shell", 1)]);
    assert_eq!(t.effect(t.call("shell")).state, State::Ready);
    t.tell(Input::Lineage { old: 1, new: 2 });
    t.slots.tool = 1;
    t.settle();
    assert_eq!(t.effect(t.call("shell")).state, State::Doubt);
}

#[test]
pub fn what_a_restore_doubted_before_it_was_looked_at_can_be_retried() {
    let mut t = TestSession::new();
    t.say(1);
    t.switches.frozen = true;
    t.reply(&[("shell", 1)]);
    t.tell(Input::Lineage { old: 1, new: 2 });
    t.switches.frozen = false;
    t.settle();
    let effect = t.call("shell");
    t.resolve(effect, Resolution::Retry).unwrap();
    t.settle();
    assert!(t.start(effect).is_ok());
}

#[test]
pub fn a_yes_from_before_a_restore_is_none_after_it() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1)]);
    let effect = t.call("shell");
    assert!(t.start(effect).is_ok());
    t.crash();
    t.tell(Input::Lineage { old: 1, new: 2 });
    t.resolve(effect, Resolution::Retry).unwrap();
    assert_eq!(t.effect(effect).state, State::Planned, "to be looked at");
    assert!(matches!(t.open().as_slice(), [Effect::Inspect { id, .. }] if *id == effect), "{:?}", t.open());
}

#[test]
pub fn a_model_call_in_a_backup_is_made_again() {
    let mut t = TestSession::new();
    t.say(1);
    t.tell(Input::Lineage { old: 1, new: 2 });
    t.crash();
    t.reply(&[]);
    t.assert_ended(StopReason::Claimed);
    assert!(t.records.iter().any(|record| matches!(record, Record::Lapsed { .. })));
}
