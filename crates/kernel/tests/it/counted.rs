//! Limits of rules: what a call takes, what is given back, and what becomes of the call that passes one.
use backstay_kernel::Input;
use backstay_kernel::budget::{Used, WindowState};
use backstay_kernel::context::{Answer, Item, Note};
use backstay_kernel::destination::{Audience, Method, Reachable};
use backstay_kernel::effect::Inspection;
use backstay_kernel::facts::{Addressed, Facts};
use backstay_kernel::flow::Named;
use backstay_kernel::label::Label;
use backstay_kernel::limit::{Limit, Measure, Over, passed, windows};
use backstay_kernel::record::{Counted, Judged, Reason, Record, Resolution, Verdict};
use backstay_kernel::rule::{Conditions, Field, Rule, RuleVerdict, Test};
use backstay_kernel::session::State;
use backstay_kernel::subject::{Going, Subject, To, With};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::words::{Atom, Kind};
use proptest::prelude::*;

use crate::harness::TestSession;
use crate::rules::{FACTS, any_subject, forget};

const HOUR_MS: u64 = 3_600_000;

fn calls(max: u64, over: Over) -> Limit {
    Limit { measure: Measure::Count, per: Vec::new(), of_home: false, window_ms: HOUR_MS, max, currency: None, over }
}

fn limited(limits: Vec<Limit>) -> TestSession {
    let mut t = TestSession::new();
    let when = Conditions::from([(Field::Tool, Test::AnyOf(vec!["shell".into(), "post".into(), "write".into()]))]);
    t.agent().rules = vec![Rule { limits, ..Rule::new("few", RuleVerdict::Allow, when) }].into();
    t.say(1);
    t
}

fn started(t: &TestSession) -> Vec<Vec<Counted>> {
    let of = |record: &Record| if let Record::Started(s) = record { Some(s.counted.clone()) } else { None };
    t.records.iter().filter_map(of).filter(|counted| !counted.is_empty()).collect()
}

fn verdicts(t: &TestSession) -> Vec<Verdict> {
    let of = |record: &Record| {
        if let Record::Judged(Judged { verdict, .. }) = record { Some(verdict.clone()) } else { None }
    };
    t.records.iter().filter_map(of).collect()
}

fn limit_of(rule: &str) -> Verdict {
    Verdict::Deny { by: Reason::Limit(rule.into()) }
}

/// Of the one window: what has been taken, and what is held for calls that run.
fn row(t: &TestSession) -> (u64, u64) {
    let used: Vec<&Used> = t.ledger.values().collect();
    assert_eq!(used.len(), 1, "{:?}", t.ledger);
    (used[0].settled.tokens, used[0].reserved.tokens)
}

#[test]
fn calls_of_one_reply_take_what_is_there_and_the_next_is_denied() {
    let mut t = limited(vec![calls(2, Over::Deny)]);
    t.reply(&[("shell", 1), ("shell", 2), ("shell", 3)]);
    assert_eq!((started(&t).len(), row(&t)), (2, (0, 2)));
    assert_eq!(verdicts(&t).last(), Some(&limit_of("few")));
    let (first, second) = (t.records.iter().filter_map(|r| if let Record::Started(s) = r { Some(s) } else { None }))
        .filter(|s| s.request.is_none())
        .fold((None, None), |(first, _), s| (first.or(Some(s.effect)), Some(s.effect)));
    t.done(first.unwrap(), 1);
    t.done(second.unwrap(), 2);
    assert_eq!(row(&t), (2, 0));
    let results = t.session.items.iter().rev().find_map(|item| match item {
        Item::Results { answers, .. } => answers.last().cloned(),
        _ => None,
    });
    assert_eq!(results, Some(Answer::Note(Note::Limited("few".into()))));
    t.now += HOUR_MS;
    t.reply(&[("shell", 4)]);
    assert_eq!(started(&t).len(), 3, "another hour has room again");
}

#[test]
fn what_passes_a_limit_that_asks_takes_a_yes_and_counts() {
    let mut t = limited(vec![calls(1, Over::Ask)]);
    t.reply(&[("shell", 1)]);
    t.done(t.call("shell"), 1);
    t.reply(&[("shell", 2)]);
    let effect = t.call("shell");
    assert!(matches!(&t.effect(effect).state, State::Asked { by: Reason::Limit(rule), .. } if rule == "few"));
    t.decide(effect, true).unwrap();
    t.settle();
    let max = started(&t).iter().map(|counted| counted[0].max).collect::<Vec<_>>();
    assert_eq!((max, row(&t)), (vec![Some(1), None], (1, 1)));
}

#[test]
fn a_yes_lifts_no_limit_that_denies() {
    let mut t = limited(vec![calls(0, Over::Ask), Limit { per: vec![Field::Tool], ..calls(1, Over::Deny) }]);
    t.slots.tool = 0;
    t.reply(&[("shell", 1), ("shell", 2)]);
    let asked: Vec<_> = t.session.effects.keys().copied().collect();
    asked.iter().for_each(|effect| drop(t.decide(*effect, true).unwrap()));
    t.slots.tool = 8;
    t.settle();
    assert_eq!((started(&t).len(), verdicts(&t).last()), (1, Some(&limit_of("few"))));
}

#[test]
fn calls_that_differ_in_what_the_limit_is_per_are_counted_apart() {
    let mut t = limited(vec![Limit { per: vec![Field::Principal, Field::Tool], ..calls(1, Over::Deny) }]);
    t.reply(&[("shell", 1), ("post", 1), ("shell", 2)]);
    assert_eq!(started(&t).len(), 2);
    let keys: Vec<&String> = t.ledger.keys().collect();
    let begin = t.now / HOUR_MS * HOUR_MS;
    let key = |tool| format!("limit:main/count/{HOUR_MS}/{begin}/principal=ann/tool={tool}/few");
    assert_eq!(keys, [&key("post"), &key("shell")]);
}

#[test]
fn a_limit_of_the_home_counts_the_calls_of_all_agents_in_one_row() {
    let limit = Limit { of_home: true, per: vec![Field::Tool], ..calls(1, Over::Deny) };
    let t = limited(vec![limit]);
    let key = |agent: &str| {
        let subject = Subject { agent: Some(agent), tool: Some("shell"), now: Some(t.now), ..Subject::default() };
        windows(&t.policy.agents["main"].rules, &subject).into_iter().map(|window| window.key).collect::<Vec<_>>()
    };
    let begin = t.now / HOUR_MS * HOUR_MS;
    assert_eq!(key("main"), [format!("limit:/count/{HOUR_MS}/{begin}/tool=shell/few")]);
    assert_eq!(key("main"), key("other"));
}

#[test]
fn calls_are_counted_apart_by_what_is_one_word_of_them() {
    let post = Method::Post;
    let place = |host: &str, port, methods: &[Method]| Reachable {
        host: host.into(),
        port,
        methods: methods.to_vec(),
        tunnel: false,
    };
    let many = [place("a.test", 443, &[Method::Get, Method::Head]), place("a.test", 80, &[Method::Get])];
    let to = To { host: Some("a.test"), port: Some(443), method: Some(post), path: Some("/v1/a"), url_bytes: Some(9) };
    let git = With::Repository {
        repo: Some("git.test/Team/app.git"),
        refs: Some(vec!["refs/heads/a"]),
        force: None,
        changed: None,
    };
    let one = Subject {
        agent: Some("main"),
        now: Some(0),
        tool: Some("shell"),
        going: Going::To(to),
        git,
        programs: Some(vec!["git"]),
        commands: Some(vec!["git push"]),
        audience: Some(vec![Audience::Home]),
        ..Subject::default()
    };
    let none = Subject {
        going: Going::Nowhere,
        git: With::None,
        programs: Some(vec![]),
        commands: Some(vec![]),
        audience: Some(vec![]),
        ..one.clone()
    };
    let several = Subject {
        going: Going::Any(&many),
        git: With::Repository { repo: None, refs: Some(vec!["a", "b"]), force: None, changed: None },
        programs: Some(vec!["a", "b"]),
        commands: Some(vec!["a", "b"]),
        audience: Some(vec![Audience::Home, Audience::Named]),
        ..one.clone()
    };
    for (field, word, of_several) in [
        (Field::Host, "a.test", Some("a.test")),
        (Field::Port, "443", None),
        (Field::Method, "POST", None),
        (Field::UrlPath, "%2Fv1%2Fa", None),
        (Field::Repo, "git.test%2Fteam%2Fapp", None),
        (Field::Ref, "refs%2Fheads%2Fa", None),
        (Field::Program, "git", None),
        (Field::Subcommand, "git push", None),
        (Field::Audience, "home", None),
    ] {
        let t = limited(vec![Limit { per: vec![field], ..calls(1, Over::Deny) }]);
        let rows = |subject: &Subject<'_>| {
            windows(&t.policy.agents["main"].rules, subject).into_iter().map(|window| window.key).collect::<Vec<_>>()
        };
        let key = |word: &str| vec![format!("limit:main/count/{HOUR_MS}/0/{}={word}/few", field.word())];
        assert_eq!((rows(&one), rows(&none)), (key(word), key("")), "{field:?}");
        assert_eq!(rows(&several), of_several.map(key).unwrap_or_default(), "{field:?}");
        let subject = Subject { agent: Some("main"), now: Some(0), tool: Some("shell"), ..Subject::default() };
        assert!(rows(&subject).is_empty() && passed(&t.policy.agents["main"].rules, &subject, &[]).is_some());
    }
}

#[test]
fn amounts_are_added_up_in_their_currency_alone() {
    let limit = Limit {
        measure: Measure::Amount,
        per: vec![Field::Account],
        currency: Some("EUR".into()),
        ..calls(10_000, Over::Deny)
    };
    let mut t = limited(vec![limit]);
    let pay = |t: &mut TestSession, number: u8, values: &[(Kind, &str)], more_values| {
        let values = values.iter().map(|(kind, text)| Atom::of(*kind, text).unwrap()).collect();
        let facts = Facts {
            declared: Some(Box::default()),
            addressed: Some(Box::new(Addressed { values, more: more_values })),
            ..Facts::new(EffectClass::Write, Vec::new())
        };
        let before = started(t).len();
        t.only_reply(&[("shell", number)]);
        let effect = t.call("shell");
        t.tell(Input::Inspected { effect, inspection: Inspection::Facts(facts), named: Named::default() });
        t.settle();
        let starts = started(t).len() > before;
        if starts {
            t.done(effect, number);
        }
        starts
    };
    let one = (Kind::Account, "CH9300762011623852957");
    let other = (Kind::Account, "DE89370400440532013000");
    assert!(pay(&mut t, 1, &[one, (Kind::Money, "60.50 EUR")], false));
    assert!(!pay(&mut t, 2, &[one, (Kind::Money, "39.51 EUR")], false), "a hundredth too much");
    assert!(pay(&mut t, 3, &[one, (Kind::Money, "39.50 EUR")], false));
    assert!(pay(&mut t, 4, &[other, (Kind::Money, "100 EUR")], false), "another account");
    // Of this one nothing has been taken.
    let fresh = (Kind::Account, "GB82WEST12345698765432");
    for (number, values, more) in [
        (5, vec![fresh, (Kind::Money, "1 USD")], false),
        (6, vec![fresh, (Kind::Number, "1")], false),
        (7, vec![fresh, one, (Kind::Money, "1 EUR")], false),
        (8, vec![fresh], true),
    ] {
        assert!(!pay(&mut t, number, &values, more), "{values:?} {more}");
    }
    assert!(pay(&mut t, 9, &[fresh, (Kind::Money, "1 EUR")], false));
}

#[test]
fn what_is_counted_apart_cannot_say_that_it_is_something_else() {
    let t = TestSession::new();
    let limit = Limit { per: vec![Field::Recipient], ..calls(9, Over::Deny) };
    let rules = [Rule { limits: vec![limit], ..Rule::new("few", RuleVerdict::Allow, Conditions::new()) }];
    let values = [Atom::of(Kind::Email, "a/tool=x@y.test").unwrap()];
    let subject = Subject { agent: Some("main"), values: Some(&values), now: Some(t.now), ..Subject::default() };
    let key = windows(&rules, &subject).remove(0).key;
    assert!(key.ends_with("/recipient=a%2Ftool=x@y.test/few"), "{key}");
}

#[test]
fn what_certainly_did_nothing_is_given_back_and_what_may_have_happened_is_not() {
    let mut t = limited(vec![calls(9, Over::Deny)]);
    t.reply(&[("shell", 1)]);
    t.failed(t.call("shell"));
    assert_eq!(row(&t), (0, 0), "failed");
    t.reply(&[("shell", 2)]);
    let effect = t.call("shell");
    t.switches.frozen = true;
    let bounce = t.start(effect).unwrap_err();
    t.tell(Input::Bounced(bounce));
    assert_eq!(row(&t), (0, 0), "turned back at the last look");
    t.switches.frozen = false;
    t.settle();
    assert_eq!(row(&t), (0, 1), "started after all");
    t.crash();
    assert_eq!((row(&t), &t.effect(effect).state), ((1, 0), &State::Doubt));
    t.resolve(effect, Resolution::Retry).unwrap();
    t.settle();
    assert!(matches!(t.effect(effect).state, State::Started { .. }));
    assert_eq!(row(&t), (1, 0), "the same call counts once");
    t.done(effect, 1);
    assert_eq!(row(&t), (1, 0));
}

/// Between the reservation and its settlement the process dies: the call goes on, within a limit of one.
#[test]
fn a_call_that_goes_on_after_a_crash_does_not_stand_in_its_own_way() {
    let mut t = limited(vec![calls(1, Over::Deny)]);
    t.reply(&[("post", 1)]);
    let effect = t.call("post");
    t.crash();
    assert!(matches!(t.effect(effect).state, State::Started { .. }), "started again");
    assert_eq!((started(&t).len(), row(&t)), (1, (1, 0)));
    t.done(effect, 1);
    t.reply(&[("post", 2)]);
    assert_eq!(verdicts(&t).last(), Some(&limit_of("few")));
}

/// What another session took in between is seen when the call starts, not only when it is judged.
#[test]
fn a_limit_used_up_while_the_call_waited_for_a_slot_denies_it() {
    let mut t = limited(vec![calls(1, Over::Deny)]);
    t.slots.tool = 0;
    t.reply(&[("shell", 1)]);
    assert_eq!(t.effect(t.call("shell")).state, State::Ready);
    let window = windows_of(&t).remove(0);
    t.ledger.entry(window).or_default().reserved.tokens = 1;
    t.slots.tool = 1;
    t.advance();
    assert_eq!((started(&t).len(), verdicts(&t).last()), (0, Some(&limit_of("few"))));
}

fn windows_of(t: &TestSession) -> Vec<String> {
    let wanted = backstay_kernel::ledger::wanted(&t.session, &Input::Advance, &t.frame());
    wanted.into_iter().map(|window| window.key).collect()
}

#[test]
fn bytes_are_added_up_and_a_call_of_unknown_size_passes_the_limit() {
    let limit = Limit { measure: Measure::BytesOut, ..calls(10, Over::Deny) };
    let mut t = TestSession::new();
    t.agent().rules =
        vec![Rule { limits: vec![limit], ..Rule::new("small", RuleVerdict::Allow, Conditions::new()) }].into();
    t.say(1);
    for (bytes, starts) in [(Some(6), 1), (Some(5), 1), (Some(4), 2), (None, 2), (Some(0), 3)] {
        // The harness would look at it as of unknown size.
        t.only_reply(&[("shell", u8::try_from(t.records.len() % 200).unwrap())]);
        let facts = Facts { bytes_out: bytes, ..Facts::new(EffectClass::Write, Vec::new()) };
        let effect = t.call("shell");
        t.tell(Input::Inspected { effect, inspection: Inspection::Facts(facts), named: Named::default() });
        t.settle();
        assert_eq!(started(&t).len(), starts, "{bytes:?}");
        if t.session.effects.contains_key(&effect) {
            t.done(effect, 1);
        }
    }
    assert_eq!(row(&t), (10, 0));
}

/// A limit of a rule that allows holds for what the rule might match: what is not known of a call
/// takes it out of no limit.
#[test]
fn a_call_that_the_rule_might_match_counts() {
    let under = Conditions::from([(Field::Path, Test::Under("/w".into()))]);
    let mut t = TestSession::new();
    t.agent().rules =
        vec![Rule { limits: vec![calls(0, Over::Deny)], ..Rule::new("w", RuleVerdict::Allow, under) }].into();
    t.say(1);
    t.only_reply(&[("shell", 1)]);
    let facts = Facts { more_paths: true, ..Facts::new(EffectClass::Write, Vec::new()) };
    let effect = t.call("shell");
    t.tell(Input::Inspected { effect, inspection: Inspection::Facts(facts), named: Named::default() });
    assert_eq!(verdicts(&t).last(), Some(&limit_of("w")));
}

#[test]
fn a_row_that_nobody_read_counts_as_full() {
    let limits = vec![calls(9, Over::Deny)];
    let rules = [Rule { limits, ..Rule::new("few", RuleVerdict::Allow, Conditions::new()) }];
    let t = TestSession::new();
    let facts = Facts::new(EffectClass::Write, Vec::new());
    let named = backstay_kernel::flow::Named::default();
    let subject = backstay_kernel::subject::Subject::of(&t.session, "shell", (&facts, &named), &t.frame()).unwrap();
    assert!(passed(&rules, &subject, &[]).is_some());
    let windows = windows(&rules, &subject);
    let read: Vec<WindowState> =
        windows.into_iter().map(|window| WindowState { window, used: Used::default() }).collect();
    assert!(passed(&rules, &subject, &read).is_none());
    assert_eq!(t.session.label, Label::of(backstay_kernel::label::Source::Config));
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let per = proptest::sample::subsequence(
        vec![
            Field::Principal,
            Field::Tool,
            Field::Host,
            Field::LabelConf,
            Field::Port,
            Field::Method,
            Field::UrlPath,
            Field::Repo,
            Field::Ref,
            Field::Program,
            Field::Subcommand,
            Field::Audience,
        ],
        0..3,
    );
    let measure = proptest::sample::select(vec![Measure::Count, Measure::BytesOut, Measure::UrlBytes]);
    let over = proptest::sample::select(vec![Over::Ask, Over::Deny]);
    (measure, per, any::<bool>(), 0u64..5, over).prop_map(|(measure, per, of_home, max, over)| Limit {
        measure,
        per,
        of_home,
        window_ms: HOUR_MS,
        max,
        currency: None,
        over,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// I8: whatever is forgotten of a call, it passes the same limits or stricter ones.
    #[test]
    fn a_forgotten_fact_takes_a_call_out_of_no_limit(
        rules in prop::collection::vec((crate::rules::any_rule(), prop::collection::vec(any_limit(), 0..3)), 1..4),
        whole in any_subject(), taken in 0u64..4, forgotten in prop::collection::vec(0..FACTS, 1..5),
    ) {
        let rules: Vec<Rule> = rules.into_iter().map(|(rule, limits)| Rule { limits, ..rule }).collect();
        let mut less = whole.clone();
        forgotten.into_iter().for_each(|fact| forget(&mut less, fact));
        let mut used = Used::default();
        used.settled.tokens = taken;
        let all = [windows(&rules, &whole), windows(&rules, &less)].concat();
        let all: Vec<WindowState> = all.into_iter().map(|window| WindowState { window, used }).collect();
        let over = |subject| passed(&rules, subject, &all).map(|(limit, _)| limit.over);
        prop_assert!(over(&less) >= over(&whole));
    }
}
