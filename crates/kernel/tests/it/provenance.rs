//! Where the values of a call come from: what a rule is told of it, when it is looked at, and that it stays the same
//! from the first look to the last.
use std::collections::{BTreeMap, BTreeSet};

use backstay_kernel::Input;
use backstay_kernel::destination::{Destination, Method};
use backstay_kernel::effect::Inspection;
use backstay_kernel::facts::{Access, Facts, PathFact, Starts};
use backstay_kernel::flow::{Lists, Named, Provenance, Sources, Values, Wish, named, wants_names, wants_provenance};
use backstay_kernel::id::{Digest, EffectId, Seq};
use backstay_kernel::ledger;
use backstay_kernel::limit::{Limit, Measure, Over};
use backstay_kernel::record::{Grounds, Reason, Record, Used, Verdict};
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::session::State;
use backstay_kernel::subject::Subject;
use backstay_kernel::tool::{ArgumentRole, EffectClass, Known, Listing, Manifest, Name};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Atom, Kind, Sign, extract, quotes};

use crate::harness::{DAY_MS, TestSession, rule, tuple};
use Provenance::{Config, Created, Listed, Person, Plan, Unknown};

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn only(words: &[&str]) -> (Field, Test) {
    (Field::Provenance, Test::SubsetOf(texts(words)))
}

fn any(words: &[&str]) -> (Field, Test) {
    (Field::Provenance, Test::Intersects(texts(words)))
}

fn known(of: &[Provenance]) -> Named {
    Named { provenance: Some(of.iter().copied().collect()), ..Named::default() }
}

fn names(entries: &[(&str, &str)]) -> Vec<Name> {
    entries.iter().map(|(name, value)| Name { name: (*name).into(), value: (*value).into() }).collect()
}

/// A tool with an argument for everything that may choose.
fn manifest() -> Manifest {
    let list = Listing {
        tool: "list".into(),
        arguments: "{}".into(),
        list: String::new(),
        name: "/name".into(),
        value: "/id".into(),
        sign: Sign::At,
        unquoted: false,
    };
    let authority = |name: &str, kind| (name.to_owned(), ArgumentRole::Authority(kind));
    Manifest {
        arguments: vec![
            authority("to", Kind::Email),
            authority("url", Kind::Url),
            authority("who", Kind::QuotedString),
            authority("path", Kind::Path),
            ("most".into(), ArgumentRole::UpTo(50)),
            ("pick".into(), ArgumentRole::Selector),
            ("text".into(), ArgumentRole::Payload),
        ],
        known: vec![
            ("who".into(), Known::Listed(names(&[("the boss", "u1")]))),
            ("who".into(), Known::Listing(Box::new(list))),
            ("who".into(), Known::Created(vec!["make".into()])),
        ],
        ..TestSession::new().policy.tools["mail"].clone()
    }
}

/// What is found out of a call with these arguments, in a task of these messages.
fn found(facts: &Facts, arguments: &str, messages: &[&str]) -> Option<Vec<Provenance>> {
    found_in(&TestSession::new(), &manifest(), facts, arguments, messages)
}

fn found_in(
    t: &TestSession,
    manifest: &Manifest,
    facts: &Facts,
    arguments: &str,
    messages: &[&str],
) -> Option<Vec<Provenance>> {
    let words: Vec<Vec<Atom>> = messages.iter().map(|text| extract(text, &quotes(text))).collect();
    let stored = |all: &Vec<Atom>| all.iter().filter(|atom| atom.0 != Kind::Words).cloned().collect();
    let messages: Vec<_> = words.iter().zip(2..).map(|(all, seq)| (Seq(seq), stored(all))).collect();
    let lists =
        Lists { names: vec![(1, names(&[("Ann", "u2"), ("Bob", "u3")]))], created: vec![("make".into(), "u4".into())] };
    let who = BTreeMap::from([("who".to_owned(), vec!["Carol".to_owned()])]);
    let wishes = [(0, Wish { tool: "mail".into(), count: 1, arguments: who })];
    let values = Values::read(manifest, arguments);
    let sources = Sources { messages: &messages, words: &words, known: Some((manifest, &lists)), wishes: &wishes };
    let named = named(&t.session, Seq(9), facts, &t.policy, (&values, &tuple(&values, facts.class)), &sources);
    named.provenance.map(|all| all.into_iter().collect())
}

fn of(class: EffectClass) -> Facts {
    Facts::new(class, Vec::new())
}

/// (arguments, messages, where the values of a call that sends come from)
#[test]
fn each_value_that_chooses_comes_from_somewhere() {
    for (arguments, messages, expected) in [
        (r#"{"to":"ann@x.test"}"#, &["mail ann@x.test"][..], &[Person][..]),
        (r#"{"to":"ANN@x.test"}"#, &["mail ann@x.test"], &[Unknown]),
        (r#"{"to":"eve@x.test"}"#, &["mail ann@x.test"], &[Unknown]),
        (r#"{"to":"ann@x.test"}"#, &[], &[Unknown]),
        // What somebody repeats, or says no to, is not their own word.
        (r#"{"to":"ann@x.test"}"#, &["> mail ann@x.test"], &[Unknown]),
        (r#"{"to":"ann@x.test"}"#, &["never mail ann@x.test"], &[Unknown]),
        // Each for itself, in whichever message.
        (r#"{"to":["ann@x.test","eve@x.test"]}"#, &["mail ann@x.test"], &[Person, Unknown]),
        (r#"{"to":["ann@x.test","bob@x.test"]}"#, &["mail ann@x.test", "and bob@x.test"], &[Person]),
        (r#"{"to":"ann@x.test","url":"https://a.test/x"}"#, &["mail ann@x.test"], &[Person, Unknown]),
        (r#"{"to":"ann@x.test","url":"https://a.test/x"}"#, &["mail https://a.test/x to ann@x.test"], &[Person]),
        // By names.
        (r#"{"who":"u1"}"#, &["tell the boss"], &[Config]),
        (r#"{"who":"u2"}"#, &["tell @Ann"], &[Listed]),
        (r#"{"who":"u2"}"#, &["tell Ann"], &[Unknown]),
        (r#"{"who":["u2","u3"]}"#, &["tell @Ann and @Bob"], &[Listed]),
        (r#"{"who":"u2"}"#, &["tell @Ann and @Bob"], &[Unknown]),
        (r#"{"who":["u2","u9"]}"#, &["tell @Ann and \"u9\""], &[Person, Listed]),
        (r#"{"who":"Carol"}"#, &["tell Carol"], &[Plan]),
        (r#"{"who":"Carol"}"#, &["tell them"], &[Unknown]),
        (r#"{"who":"u4"}"#, &["go on"], &[Created]),
        (r#"{"who":["u4","u9"]}"#, &["go on"], &[Created, Unknown]),
        (r#"{"who":["u4","u9"]}"#, &["tell \"u9\""], &[Person, Created]),
        (r#"{"who":"u4"}"#, &["tell \"u4\""], &[Person]),
        // What has no form, what is there twice, and what nobody declared.
        (r#"{"to":"Ann"}"#, &["mail Ann"], &[Unknown]),
        (r#"{"to":[]}"#, &["mail ann@x.test"], &[Unknown]),
        (r#"{"to":["ann@x.test","ann@x.test"]}"#, &["mail ann@x.test"], &[Unknown]),
        (r#"{"to":{"a":"ann@x.test"}}"#, &["mail ann@x.test"], &[Unknown]),
        (r#"{"to":"ann@x.test","bcc":"ann@x.test"}"#, &["mail ann@x.test"], &[Person, Unknown]),
        ("no object", &["mail ann@x.test"], &[Unknown]),
        // What the operator lets pass, what is said, and what is left out choose nothing.
        (r#"{"most":50,"text":"eve@x.test","to":null}"#, &[], &[]),
        (r#"{"most":51}"#, &[], &[Unknown]),
        (r#"{"most":51}"#, &["51 of them"], &[Person]),
        // What picks one of several things.
        (r#"{"pick":"7"}"#, &["the 7, \"7\""], &[Unknown]),
        (r#"{"pick":true}"#, &["true"], &[Unknown]),
        (r#"{"pick":"https://a.test/x"}"#, &["look at https://a.test/x"], &[Person]),
        (r#"{"pick":["https://a.test/x","https://a.test/y"]}"#, &["look at https://a.test/x"], &[Person, Unknown]),
        (r#"{"path":"notes.md"}"#, &["write notes.md"], &[Person]),
        (r#"{"path":"notes.md"}"#, &["write it"], &[Unknown]),
    ] {
        let expected = Some(expected.to_vec());
        assert_eq!(found(&of(EffectClass::Send), arguments, messages), expected, "{arguments} {messages:?}");
    }
}

#[test]
fn what_stays_here_and_can_be_mended_chooses_by_the_paths_that_it_writes_alone() {
    let mut t = TestSession::new();
    t.policy.workspace = "/w".into();
    let path = |access, real: &str| PathFact::new(access, real.to_owned());
    let to = Destination::of(&Url::read("https://a.test/x").unwrap(), Method::Get, 0);
    let away = Facts { destination: Some(to), ..of(EffectClass::Read) };
    let deletes = Facts { reversible: Some(false), ..of(EffectClass::Write) };
    let all = r#"{"path":"a","pick":"7"}"#;
    let writes = |paths| Facts::new(EffectClass::Write, paths);
    let of_tool = |names: &[&str]| {
        let arguments = manifest().arguments.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect();
        Manifest { arguments, ..manifest() }
    };
    let (without, plain) = (of_tool(&["path", "pick"]), of_tool(&["path", "pick", "most"]));
    for (facts, arguments, expected) in [
        (of(EffectClass::Read), all, &[][..]),
        (of(EffectClass::Write), all, &[]),
        (of(EffectClass::Write), r#"{"path":["a","a"]}"#, &[]),
        (of(EffectClass::Write), r#"{"paths":"a"}"#, &[Unknown]),
        (away, all, &[Unknown]),
        (deletes, all, &[Unknown]),
        (of(EffectClass::Spend), all, &[Unknown]),
        (writes(vec![path(Access::Write, "/w/a")]), all, &[]),
        (writes(vec![path(Access::Read, "/srv/b")]), all, &[]),
        (writes(vec![path(Access::Write, "/srv/a")]), all, &[Person]),
        (writes(vec![path(Access::Write, "/srv/b")]), all, &[Unknown]),
        (writes(vec![path(Access::Write, "/srv/a"), path(Access::Write, "/srv/b")]), all, &[Person, Unknown]),
    ] {
        let expected = Some(expected.to_vec());
        assert_eq!(found_in(&t, &without, &facts, arguments, &["write /srv/a"]), expected, "{facts:?}");
    }
    // A tool that is told whom or how much chooses so, too.
    assert_eq!(found_in(&t, &plain, &of(EffectClass::Write), all, &[]), Some(vec![Unknown]));
    assert_eq!(found_in(&t, &plain, &of(EffectClass::Read), all, &[]), Some(vec![]));
}

#[test]
fn of_what_a_shell_reads_nobody_can_tell_it() {
    let declared = Some(Box::new(Digest::default()));
    let of = |facts: &Facts| found(facts, "{}", &[]);
    let shell = Facts::new(EffectClass::Execute, Vec::new());
    assert_eq!(of(&shell), None);
    assert_eq!(of(&Facts { programs: Box::new(["sh".to_owned()]), ..Facts::new(EffectClass::Send, Vec::new()) }), None);
    assert_eq!(of(&Facts { starts: Starts::Programs, ..shell.clone() }), Some(vec![]));
    assert_eq!(of(&Facts { starts: Starts::Commands, ..shell.clone() }), Some(vec![]));
    assert_eq!(of(&Facts { declared, ..shell }), Some(vec![]));
}

/// (the values, the test, whether an allow matches, whether a deny does)
#[test]
fn a_rule_on_provenance_speaks_of_every_value() {
    let matched = |subject: &Subject<'_>, test: &Test| {
        let of = |verdict| rule("r", verdict, &[(Field::Provenance, test.clone())]).matches(subject);
        (of(RuleVerdict::Allow), of(RuleVerdict::Deny))
    };
    let equal = |word: &str| Test::Equal(word.to_owned());
    let (one, two): (&[Provenance], &[Provenance]) = (&[Person], &[Person, Unknown]);
    for (of, test, expected) in [
        (one, equal("person"), (true, true)),
        (one, equal("unknown"), (false, false)),
        (one, Test::NotIn(texts(&["unknown"])), (true, true)),
        (one, only(&["person", "listed"]).1, (true, true)),
        (two, equal("person"), (false, true)),
        (two, Test::AnyOf(texts(&["person", "unknown"])), (true, true)),
        (two, Test::NotIn(texts(&["unknown"])), (false, true)),
        (two, any(&["unknown"]).1, (true, true)),
        (two, any(&["plan", "config"]).1, (false, false)),
        (two, only(&["person"]).1, (false, false)),
        (&[], equal("unknown"), (false, false)),
        (&[], Test::NotIn(texts(&["unknown"])), (false, false)),
        (&[], only(&["person"]).1, (false, false)),
    ] {
        let set: BTreeSet<Provenance> = of.iter().copied().collect();
        let subject = Subject { provenance: Some(&set), ..Subject::default() };
        assert_eq!(matched(&subject, &test), expected, "{of:?} {test:?}");
        assert_eq!(matched(&Subject::default(), &test), (false, true), "nobody knows: {test:?}");
        assert_eq!(subject.used(Field::Provenance), Used::Provenance(set.clone()));
    }
    assert_eq!(Subject::default().used(Field::Provenance), Used::Missing(Field::Provenance));
    assert!(Provenance::ALL.iter().all(|one| serde_json::to_value(one).unwrap() == one.word()));
}

/// Looked at where a rule may speak of such a call, whatever it says of the hour or the session.
#[test]
fn it_is_looked_at_where_a_rule_may_want_it() {
    let tool = |name: &str| (Field::Tool, Test::Equal(name.to_owned()));
    let class = |word: &str| (Field::Class, Test::Equal(word.to_owned()));
    let secret = (Field::LabelConf, Test::Equal("secret".to_owned()));
    let deny = |when: &[(Field, Test)]| rule("r", RuleVerdict::Deny, when);
    let unless = |when, unless: (Field, Test)| Rule { unless: BTreeMap::from([unless]), ..deny(when) };
    for (rules, expected) in [
        (vec![], false),
        (vec![deny(&[tool("mail")])], false),
        (vec![deny(&[any(&["unknown"])])], true),
        (vec![deny(&[]), unless(&[class("send")], only(&["person"]))], true),
        (vec![rule("r", RuleVerdict::Allow, &[tool("mail"), only(&["person"])])], true),
        (vec![deny(&[tool("post"), any(&["unknown"])])], false),
        (vec![deny(&[class("spend"), any(&["unknown"])])], false),
        (vec![deny(&[secret, any(&["unknown"])])], true),
        (vec![Rule { until: Some(1), ..deny(&[any(&["unknown"])]) }], true),
    ] {
        let mut t = TestSession::new();
        for is_indexed in [true, false] {
            t.agent().rules = rules.clone().into();
            if !is_indexed {
                t.agent().rules.rotate_left(0);
            }
            let wants = wants_provenance(&t.session, Some("mail"), &of(EffectClass::Send), &t.policy);
            assert_eq!(wants, expected, "{rules:?}");
        }
        assert!(!wants_names(&t.session, Some("mail"), &of(EffectClass::Send), &t.policy), "the gate asks for nothing");
    }
}

/// A session of a person that has read nothing, with these rules, and a call of `mail` with these values.
fn mailing(rules: Vec<Rule>, named: Named) -> (TestSession, EffectId) {
    let mut t = TestSession::new();
    t.agent().rules = rules.into();
    t.type_in(1);
    t.only_reply(&[("mail", 1)]);
    let effect = t.call("mail");
    let inspection = Inspection::Facts(of(EffectClass::Send));
    t.tell(Input::Inspected { effect, inspection, named });
    assert!(t.session.label.is_trusted());
    (t, effect)
}

fn last(t: &TestSession) -> (Verdict, Grounds) {
    let of = |record: &Record| if let Record::Judged(judged) = record { Some(judged.clone()) } else { None };
    let judged = t.records.iter().rev().find_map(of).unwrap();
    (judged.verdict, *judged.grounds.unwrap())
}

fn is_denied(verdict: &Verdict, by: &str) -> bool {
    *verdict == Verdict::Deny { by: Reason::Rule(by.to_owned()) }
}

#[test]
fn a_rule_bites_where_information_flow_asks_for_nothing() {
    let deny = || vec![rule("strangers", RuleVerdict::Deny, &[any(&["unknown"])])];
    let (t, _) = mailing(deny(), known(&[Person, Unknown]));
    let (verdict, grounds) = last(&t);
    assert!(is_denied(&verdict, "strangers"), "{verdict:?}");
    assert_eq!(grounds.used, [Used::Provenance(BTreeSet::from([Person, Unknown]))]);
    assert_eq!(grounds.provenance, Some(BTreeSet::from([Person, Unknown])));
    let (t, _) = mailing(deny(), Named::default());
    assert!(is_denied(&last(&t).0, "strangers"), "nobody looked");
    let (t, _) = mailing(deny(), known(&[Person]));
    assert!(matches!(last(&t).0, Verdict::Ask { by: Reason::ClassDefault, .. }));

    let allow = || vec![rule("mine", RuleVerdict::Allow, &[only(&["person"])])];
    for (named, is_allowed) in [(known(&[Person]), true), (known(&[Person, Created]), false), (Named::default(), false)]
    {
        let (t, effect) = mailing(allow(), named.clone());
        assert_eq!(last(&t).0 == Verdict::Allow { by: Reason::Rule("mine".into()) }, is_allowed, "{named:?}");
        assert_eq!(matches!(t.effect(effect).state, State::Asked { .. }), !is_allowed, "{named:?}");
    }
    let unless = BTreeMap::from([only(&["person"])]);
    let excepted = || vec![Rule { unless: unless.clone(), ..rule("others", RuleVerdict::Deny, &[]) }];
    for (named, denied) in [(known(&[Person]), false), (known(&[Plan]), true), (Named::default(), true)] {
        let (t, _) = mailing(excepted(), named.clone());
        assert_eq!(is_denied(&last(&t).0, "others"), denied, "{named:?}");
    }
}

/// A yes answers the question that was asked, and no rule that speaks by the time of the start.
#[test]
fn what_was_found_out_holds_until_the_call_starts() {
    let of_now = |t: &TestSession| {
        let hour = |at: u64| u16::try_from(at % DAY_MS / 60_000).unwrap();
        let hours = backstay_kernel::clock::Hours {
            from: hour(t.now + 3_600_000),
            until: hour(t.now + 7_200_000),
            zone: backstay_kernel::clock::Zone::utc(),
        };
        (Field::Clock, Test::Clock(hours))
    };
    let late = of_now(&TestSession::new());
    for (named, is_stopped) in [(known(&[Person]), false), (known(&[Unknown]), true), (Named::default(), true)] {
        let (mut t, effect) =
            mailing(vec![rule("at night", RuleVerdict::Deny, &[late.clone(), any(&["unknown"])])], named.clone());
        t.slots.tool = 0;
        t.decide(effect, true).unwrap();
        t.settle();
        assert_eq!(t.effect(effect).state, State::Ready);
        t.now += 4_000_000;
        t.slots.tool = 1;
        t.settle();
        assert_eq!(is_denied(&last(&t).0, "at night"), is_stopped, "{named:?}");
        assert_eq!(t.session.effects.contains_key(&effect), !is_stopped, "{named:?}");
    }
    // Another policy, whose rule is new.
    for (named, is_stopped) in [(known(&[Person]), false), (known(&[Unknown]), true), (Named::default(), true)] {
        let (mut t, effect) = mailing(Vec::new(), named.clone());
        t.slots.tool = 0;
        t.decide(effect, true).unwrap();
        t.narrow(rule("new", RuleVerdict::Deny, &[any(&["unknown"])]));
        t.slots.tool = 1;
        t.settle();
        assert_eq!(is_denied(&last(&t).0, "new"), is_stopped, "{named:?}");
        assert_eq!(last(&t).1.provenance, named.provenance, "and it is written down again");
        assert!(!t.session.effects.contains_key(&effect) || matches!(t.effect(effect).state, State::Asked { .. }));
    }
}

#[test]
fn a_limit_counts_the_calls_whose_values_it_means() {
    let limit = Limit {
        measure: Measure::Count,
        per: Vec::new(),
        of_home: false,
        window_ms: DAY_MS,
        max: 0,
        currency: None,
        over: Over::Deny,
    };
    let few = || vec![Rule { limits: vec![limit.clone()], ..rule("few", RuleVerdict::Allow, &[any(&["unknown"])]) }];
    for (named, is_over) in [(known(&[Person]), false), (known(&[Unknown]), true), (Named::default(), true)] {
        let (t, _) = mailing(few(), named.clone());
        assert_eq!(last(&t).0 == Verdict::Deny { by: Reason::Limit("few".into()) }, is_over, "{named:?}");
        let (mut t, effect) = mailing(Vec::new(), named.clone());
        t.agent().rules = few().into();
        let looked = Input::Inspected { effect, inspection: Inspection::Facts(of(EffectClass::Send)), named };
        for input in [looked, Input::Advance] {
            assert_eq!(!ledger::wanted(&t.session, &input, &t.frame()).is_empty(), is_over, "{input:?}");
        }
    }
}

/// What the runtime looks up was written by the operator, whatever it chooses.
#[test]
fn a_lookup_is_the_operators() {
    let (mut t, call) = crate::known::asking();
    let lookup = crate::known::look_up(&mut t, call);
    let of = |effect, arguments| {
        let (manifest, facts, lists) = (manifest(), of(EffectClass::Read), Lists::default());
        let values = Values::read(&manifest, arguments);
        let sources = Sources { known: Some((&manifest, &lists)), ..Sources::default() };
        let tuple = tuple(&values, EffectClass::Read);
        named(&t.session, effect, &facts, &t.policy, (&values, &tuple), &sources).provenance
    };
    let to = r#"{"to":"team@x.test"}"#;
    assert_eq!(of(lookup, to), Some(BTreeSet::from([Config])));
    assert_eq!(of(lookup, "{}"), Some(BTreeSet::new()));
    assert_eq!(of(call, to), Some(BTreeSet::from([Unknown])));
}
