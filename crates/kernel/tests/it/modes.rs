//! Read-only and dry run: what does more than read is not made, at whatever moment the switch is thrown.
use backstay_kernel::context::{Answer, Item, Note};
use backstay_kernel::home::{Home, HomeInput, apply, decide};
use backstay_kernel::mode::{Modes, Scope, WorkMode};
use backstay_kernel::record::{BounceReason, Disposition, Judged, Reason, Record, Verdict};
use backstay_kernel::rule::{Field, RuleVerdict, Test};
use backstay_kernel::session::State;
use backstay_kernel::tool::EffectClass;
use backstay_kernel::{Input, Wait};

use crate::harness::{TestSession, rule};

fn verdict(t: &TestSession) -> &Verdict {
    let judged = t.records.iter().rev().find_map(|record| match record {
        Record::Judged(Judged { verdict, .. }) => Some(verdict),
        _ => None,
    });
    judged.unwrap()
}

fn held_back(mode: WorkMode, would: RuleVerdict) -> Verdict {
    Verdict::Deny { by: Reason::Mode { mode, would } }
}

fn starts(t: &TestSession, tool: &str) -> usize {
    let is =
        |record: &&Record| matches!(record, Record::Started(s) if s.request.is_none() && t.tool_of(s.effect) == tool);
    t.records.iter().filter(is).count()
}

#[test]
fn in_either_mode_reading_goes_on_and_nothing_else_is_made() {
    for mode in [WorkMode::ReadOnly, WorkMode::DryRun] {
        for tool in ["shell", "mail", "post", "write"] {
            let mut t = TestSession::new();
            t.switches.mode = mode;
            t.say(1);
            t.reply(&[(tool, 1), ("read", 1)]);
            assert_eq!((starts(&t, tool), starts(&t, "read")), (0, 1), "{mode:?} {tool}");
            t.done(t.call("read"), 1);
            let would = if tool == "mail" { RuleVerdict::Ask } else { RuleVerdict::Allow };
            let Some(Item::Results { answers, .. }) = t.session.items.back() else { panic!("{:?}", t.session.items) };
            assert_eq!(
                answers[0],
                Answer::Note(Note::HeldBack { mode, would }),
                "nobody is asked for what is not made"
            );
            assert_eq!(t.head().wait, Wait::Running, "the model goes on");
        }
    }
}

#[test]
fn what_the_model_is_told_says_that_nothing_was_done() {
    for (mode, would, part) in [
        (WorkMode::DryRun, RuleVerdict::Allow, "would have been made"),
        (WorkMode::DryRun, RuleVerdict::Ask, "would have been asked"),
        (WorkMode::ReadOnly, RuleVerdict::Allow, "read-only"),
    ] {
        let text = Note::HeldBack { mode, would }.text();
        assert!(text.contains("nothing was done") && text.contains(part), "{text}");
    }
}

#[test]
fn a_switch_thrown_while_a_call_waits_for_its_yes_is_seen_before_it_starts() {
    let mut t = TestSession::new();
    t.agent().rules = vec![rule("mail", RuleVerdict::Ask, &[(Field::Tool, Test::Equal("mail".into()))])].into();
    t.say(1);
    t.reply(&[("mail", 1)]);
    t.switches.mode = WorkMode::ReadOnly;
    t.decide(t.call("mail"), true).unwrap();
    assert_eq!((starts(&t, "mail"), verdict(&t)), (0, &held_back(WorkMode::ReadOnly, RuleVerdict::Ask)));
    assert_eq!(verdict(&t).disposition(), Disposition::Impossible);
}

/// The intent is in the journal, and the call has not left yet.
#[test]
fn the_last_look_makes_no_permit_of_a_call_that_does_more_than_read() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("shell", 1), ("read", 1)]);
    let (shell, read) = (t.call("shell"), t.call("read"));
    assert!(t.start(shell).unwrap().acts() && !t.start(read).unwrap().acts());
    for mode in [WorkMode::DryRun, WorkMode::ReadOnly] {
        t.switches.mode = mode;
        assert_eq!(t.start(shell).unwrap_err().reason, BounceReason::HeldBack);
        assert!(!t.start(read).unwrap().acts());
    }
    let bounce = t.start(shell).unwrap_err();
    t.tell(Input::Bounced(bounce));
    assert!(!t.session.effects.contains_key(&shell));
    assert_eq!(verdict(&t), &held_back(WorkMode::ReadOnly, RuleVerdict::Allow));
    t.switches.mode = WorkMode::Normal;
    t.done(read, 1);
    t.reply(&[("shell", 2)]);
    assert!(matches!(t.effect(t.call("shell")).state, State::Started { .. }), "back to normal");
}

#[test]
fn a_rule_may_look_at_the_mode() {
    let mut t = TestSession::new();
    let dry = (Field::Mode, Test::Equal("dry_run".into()));
    t.agent().rules = vec![rule("no reading either", RuleVerdict::Deny, &[dry])].into();
    t.say(1);
    t.reply(&[("read", 1)]);
    assert_eq!(starts(&t, "read"), 1);
    t.done(t.call("read"), 1);
    t.switches.mode = WorkMode::DryRun;
    t.reply(&[("read", 2)]);
    assert_eq!(verdict(&t), &Verdict::Deny { by: Reason::Rule("no reading either".into()) });
}

#[test]
fn of_home_agent_and_door_the_strictest_mode_holds() {
    let mut home = Home::default();
    let mut set = |scope: Scope, mode| {
        let records = decide(&home, HomeInput::SetMode { scope, mode, by: "ann".into() }).unwrap();
        records.iter().for_each(|record| apply(&mut home, record));
        (records.len(), home.modes.clone())
    };
    let of = |modes: &Modes| [modes.of("main", "api"), modes.of("main", "chat"), modes.of("other", "api")];
    use WorkMode::{DryRun, Normal, ReadOnly};
    let (_, modes) = set(Scope::Agent("main".into()), DryRun);
    assert_eq!(of(&modes), [DryRun, DryRun, Normal]);
    let (_, modes) = set(Scope::Channel("api".into()), ReadOnly);
    assert_eq!(of(&modes), [ReadOnly, DryRun, ReadOnly]);
    assert_eq!(set(Scope::Channel("api".into()), ReadOnly).0, 0, "it is that already");
    let (_, modes) = set(Scope::Channel("api".into()), Normal);
    assert_eq!(of(&modes), [DryRun, DryRun, Normal]);
    let (_, modes) = set(Scope::Home, ReadOnly);
    assert_eq!(of(&modes), [ReadOnly; 3]);
    assert!(!ReadOnly.holds_back(EffectClass::Read) && ReadOnly.holds_back(EffectClass::Execute));
}
