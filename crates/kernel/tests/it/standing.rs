//! A yes for longer than once: to one exact call, and to nothing that is more than it.
use backstay_kernel::context::{Answer, Item, Note};
use backstay_kernel::facts::{Access, Facts, PathFact, Probe, ProgramFile};
use backstay_kernel::flow::Named;
use backstay_kernel::home::{self, Home, HomeInput, HomeRecord, Speaks};
use backstay_kernel::id::{Digest, EffectId};
use backstay_kernel::judge::judge;
use backstay_kernel::limits::{STANDING_MAX, STANDING_MS_MAX};
use backstay_kernel::record::{BounceReason, Reason, Verdict};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test};
use backstay_kernel::session::{State, Work};
use backstay_kernel::standing::{Always, Standing, arguments, granted};
use backstay_kernel::tool::EffectClass;

use crate::harness::{DAY_MS, OWNER, TestSession, rule};

fn posts() -> Rule {
    rule("posts", RuleVerdict::Ask, &[(Field::Tool, Test::Equal("post".into()))])
}

/// A session in which one post is asked about.
fn asked() -> (TestSession, EffectId) {
    let mut t = TestSession::new();
    t.agent().rules = vec![posts()].into();
    t.say(1);
    t.reply(&[("post", 1)]);
    let effect = t.call("post");
    (t, effect)
}

fn always(t: &TestSession, effect: EffectId, speaks: Speaks, until: u64) -> Result<Standing, Refusal> {
    let State::Asked { digest, .. } = t.effect(effect).state else { panic!("nobody is asked") };
    let arguments = arguments("post", "{\"n\":1}");
    let is_protected = &|path: &str| path.contains(".git");
    granted(&t.session, &Always { effect, digest, arguments, until, by: OWNER, speaks, is_protected }, &t.policy, t.now)
}

fn once(t: &TestSession, effect: EffectId) -> String {
    let refusal = always(t, effect, Speaks::Human, t.now + DAY_MS).unwrap_err();
    assert_eq!(refusal.code, Code::OnlyOnce);
    refusal.message
}

/// The yes of a person to a post, for a day, and the session in which it was said.
fn standing() -> (TestSession, Standing) {
    let (mut t, effect) = asked();
    let standing = always(&t, effect, Speaks::Human, t.now + DAY_MS).unwrap();
    t.decide(effect, true).unwrap();
    t.done(effect, 1);
    t.standing = vec![standing.clone()];
    (t, standing)
}

fn is_asked(t: &TestSession) -> bool {
    t.session.effects.values().any(|open| matches!(open.state, State::Asked { .. }))
}

#[test]
fn the_same_call_is_made_without_a_question_until_the_end() {
    let (mut t, standing) = standing();
    t.reply(&[("post", 1)]);
    let effect = t.call("post");
    assert!(t.start(effect).is_ok() && !is_asked(&t));
    let Work::Tool { judged: Some(judged), .. } = &t.effect(effect).work else { panic!() };
    assert_eq!(judged.standing.as_ref(), Some(&standing.id));
    t.done(effect, 2);
    t.reply(&[("post", 2)]);
    assert!(is_asked(&t), "other arguments are another call");
    t.decide(t.call("post"), true).unwrap();
    t.done(t.call("post"), 3);
    t.standing[0].until = t.now;
    t.reply(&[("post", 1)]);
    assert!(is_asked(&t), "it is over");
}

#[test]
fn a_change_of_the_rule_that_asked_ends_it_and_another_rule_still_asks() {
    let changed = [
        Rule { reason: Some("dearer now".into()), ..posts() },
        Rule { name: "others".into(), ..posts() },
        Rule { approvers: Approvers { quorum: 2, ..Approvers::owners() }, ..posts() },
    ];
    for rule in changed {
        let (mut t, _) = standing();
        t.agent().rules = vec![rule].into();
        t.policy.epoch += 1;
        t.reply(&[("post", 1)]);
        assert!(is_asked(&t));
    }
    let (mut t, _) = standing();
    t.agent().rules.push(rule("all", RuleVerdict::Ask, &[]));
    t.policy.epoch += 1;
    t.reply(&[("post", 1)]);
    assert!(is_asked(&t), "it lifts the rule that it was said to, and no other");
    let (mut t, _) = standing();
    t.agent().rules[0].line = 99;
    t.policy.epoch += 1;
    t.reply(&[("post", 1)]);
    assert!(!is_asked(&t), "where a rule stands is not what it says");
}

#[test]
fn no_deny_no_mode_and_no_other_person_is_lifted() {
    let (mut t, _) = standing();
    t.agent().rules.push(rule("no", RuleVerdict::Deny, &[]));
    t.policy.epoch += 1;
    t.reply(&[("post", 1)]);
    let Some(Item::Results { answers, .. }) = t.session.items.back() else { panic!() };
    assert_eq!(answers[0], Answer::Note(Note::Denied("no".into())));
    let (mut t, standing) = standing();
    t.standing = vec![Standing { principal: "bob".into(), ..standing.clone() }];
    t.reply(&[("post", 1)]);
    assert!(is_asked(&t));
    t.cancel();
    t.standing = vec![Standing { agent: "other".into(), ..standing }];
    t.say(2);
    t.reply(&[("post", 1)]);
    assert!(is_asked(&t));
}

#[test]
fn a_yes_that_is_taken_back_holds_no_call_that_has_not_begun() {
    let (mut t, _) = standing();
    t.slots.tool = 0;
    t.reply(&[("post", 1)]);
    let effect = t.call("post");
    assert_eq!(t.effect(effect).state, State::Ready);
    t.standing.clear();
    t.advance();
    assert!(is_asked(&t));
    let (mut t, _) = standing();
    t.reply(&[("post", 1)]);
    let effect = t.call("post");
    t.standing.clear();
    assert_eq!(t.start(effect).unwrap_err().reason, BounceReason::ApprovalGone);
}

#[test]
fn only_a_person_says_it_and_for_thirty_days_at_most() {
    let (t, effect) = asked();
    let ends = |until| always(&t, effect, Speaks::Human, until).map(|standing| standing.until);
    assert_eq!(ends(t.now + STANDING_MS_MAX), Ok(t.now + STANDING_MS_MAX));
    assert_eq!(ends(t.now + STANDING_MS_MAX + 1).unwrap_err().code, Code::OnlyOnce);
    assert_eq!(ends(t.now).unwrap_err().code, Code::OnlyOnce);
    assert!(always(&t, effect, Speaks::Program, t.now + 1).unwrap_err().message.contains("only a person"));
}

#[test]
fn what_is_asked_for_its_own_sake_is_answered_for_once() {
    let mut t = TestSession::new();
    t.say(1);
    t.reply(&[("mail", 1)]);
    assert!(once(&t, t.call("mail")).contains("information flow"));
    let (mut t, effect) = asked();
    t.agent().rules[0].approvers.quorum = 2;
    t.policy.epoch += 1;
    t.advance();
    assert!(once(&t, effect).contains("more than one person"));
    let inexact: [fn(&mut Facts); 6] = [
        |facts| facts.class = EffectClass::Spend,
        |facts| facts.reversible = Some(false),
        |facts| facts.class = EffectClass::Execute,
        |facts| facts.more_paths = true,
        |facts| facts.programs = Box::new(["sh".into()]),
        |facts| facts.paths = vec![PathFact::new(Access::Write, "/w/.git/config".into())],
    ];
    for change in inexact {
        let (mut t, effect) = asked();
        if let Some(Work::Tool { judged: Some(judged), .. }) =
            t.session.effects.get_mut(&effect).map(|open| &mut open.work)
        {
            change(&mut judged.facts);
        }
        once(&t, effect);
    }
}

/// What the gate says of a post with these facts, where a yes stands that was said to the others.
fn over(then: &Facts, now: &Facts) -> Verdict {
    let (mut t, effect) = asked();
    let set = |t: &mut TestSession, facts: &Facts| {
        if let Some(Work::Tool { judged: Some(judged), .. }) =
            t.session.effects.get_mut(&effect).map(|open| &mut open.work)
        {
            judged.facts = facts.clone();
        }
    };
    t.agent().grants.write = vec!["/w".into()];
    t.policy.workspace = "/w".into();
    set(&mut t, then);
    t.standing = vec![always(&t, effect, Speaks::Human, t.now + DAY_MS).unwrap()];
    let Work::Tool { call, .. } = &t.effect(effect).work else { panic!() };
    let named = Named { arguments: arguments("post", "{\"n\":1}"), ..Named::default() };
    judge(&t.session, effect, call, now, &named, &t.frame()).verdict
}

#[test]
fn nothing_is_overwritten_that_nobody_saw_and_nothing_runs_that_changed() {
    let written = |before: Option<u8>| {
        let probe = Probe { before: before.map(|byte| Digest([byte; 32])), after: Digest([9; 32]) };
        let path = PathFact::new(Access::Write, "/w/a".into());
        Facts { probe: Some(probe), ..Facts::new(EffectClass::Write, vec![path]) }
    };
    let stands = |verdict| matches!(verdict, Verdict::Allow { by: Reason::Standing(_) });
    assert!(stands(over(&written(None), &written(None))) && stands(over(&written(Some(1)), &written(Some(1)))));
    assert!(stands(over(&written(Some(1)), &written(Some(9)))), "what the call itself leaves there");
    for (then, now) in [(Some(1), Some(2)), (Some(1), None), (None, Some(1))] {
        assert!(!stands(over(&written(then), &written(now))), "{then:?} {now:?}");
    }
    let other = |change: fn(&mut Facts)| {
        let mut facts = written(None);
        change(&mut facts);
        over(&written(None), &facts)
    };
    assert!(!stands(other(|facts| facts.paths[0].real = "/w/b".into())));
    assert!(!stands(other(|facts| facts.paths[0].protected = true)), "others act by it now");
    assert!(!stands(other(|facts| facts.class = EffectClass::Send)));
    assert!(!stands(other(|facts| facts.reversible = Some(false))), "it was declared since");
    assert!(!stands(other(|facts| facts.declared = Some(Box::new(Digest([1; 32]))))));
    assert!(!stands(other(|facts| facts.probe = Some(Probe { before: None, after: Digest([8; 32]) }))));
    let file = ProgramFile { real: "/bin/a".into(), digest: Digest([1; 32]) };
    assert!(!stands(over(&written(None), &Facts { files: Box::new([file]), ..written(None) })));
}

#[test]
fn a_home_keeps_so_many_each_once_and_none_over_a_restore() {
    let (_, standing) = standing();
    let mut home = Home::default();
    let mut tell = |input| -> Result<Vec<HomeRecord>, Refusal> {
        let records = home::decide(&home, input)?;
        records.iter().for_each(|record| home::apply(&mut home, record));
        Ok(records)
    };
    let numbered = |number: usize| Standing { id: number.to_string(), ..standing.clone() };
    for number in 0..STANDING_MAX {
        assert_eq!(tell(HomeInput::GrantStanding(numbered(number))).unwrap().len(), 1);
    }
    assert!(tell(HomeInput::GrantStanding(numbered(0))).unwrap().is_empty(), "said again");
    assert_eq!(tell(HomeInput::GrantStanding(numbered(999))).unwrap_err().code, Code::OnlyOnce);
    let revoke = |id: &str| HomeInput::RevokeStanding { id: id.to_owned(), by: OWNER.to_owned() };
    assert_eq!(tell(revoke("7")).unwrap().len(), 1);
    assert_eq!(tell(revoke("7")).unwrap_err().code, Code::NoSuchStanding);
    assert_eq!(tell(HomeInput::GrantStanding(numbered(999))).unwrap().len(), 1);
    tell(HomeInput::Restored { old: 0, new: 1 }).unwrap();
    assert!(home.standing.is_empty());
}
