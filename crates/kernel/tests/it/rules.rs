//! What rules say of a call, and that no missing fact ever says more than the fact would.
use backstay_kernel::clock::{Days, Hours, Offset, Weekday, Zone};
use backstay_kernel::destination::{Destination, Method, Reachable};
use backstay_kernel::facts::{Access, Facts, PathFact, Tier};
use backstay_kernel::id::Digest;
use backstay_kernel::judge::is_granted;
use backstay_kernel::label::{Confidentiality, Integrity};
use backstay_kernel::mode::WorkMode;
use backstay_kernel::policy::Role;
use backstay_kernel::record::{Grounds, Reason, Record, Used, Verdict};
use backstay_kernel::rule::{Conditions, Field, Order, Rule, RuleVerdict, Test};
use backstay_kernel::session::State;
use backstay_kernel::subject::{Going, Subject, To, ruling};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::Url;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use crate::harness::{TestSession, rule};

/// Saturday noon, in UTC.
const NOON: u64 = 1_795_262_400_000;
const HOUR: u64 = 3_600_000;

fn conditions(of: &[(Field, Test)]) -> Conditions {
    of.iter().cloned().collect()
}

fn under(path: &str) -> (Field, Test) {
    (Field::Path, Test::Under(path.to_owned()))
}

fn writing<'a>(paths: &[&'a str]) -> Subject<'a> {
    Subject {
        agent: Some("main"),
        principal: Some("ann"),
        role: Some(Role::Owner),
        channel: Some("api"),
        tool: Some("write"),
        class: Some(EffectClass::Write),
        tier: None,
        paths: Some(paths.to_vec()),
        bytes_out: Some(100),
        going: Going::Nowhere,
        now: Some(NOON),
        conf: Some(Confidentiality::Internal),
        integrity: Some(Integrity::Trusted),
        mode: Some(WorkMode::Normal),
    }
}

fn hours(from: u16, until: u16) -> (Field, Test) {
    (Field::Clock, Test::Clock(Hours { from, until, zone: Zone::utc() }))
}

#[test]
fn each_operator_says_what_its_name_says() {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (test, holds, fails) in [
        (Test::Equal("a".into()), "a", "b"),
        (Test::AnyOf(texts(&["a", "b"])), "b", "c"),
        (Test::NotIn(texts(&["a", "b"])), "c", "b"),
        (Test::Glob("a*".into()), "ab", "ba"),
        (Test::Under("/a".into()), "/a/b", "/ab"),
        (Test::SubdomainOf("a.test".into()), "b.a.test", "ba.test"),
        (Test::Intersects(texts(&["/a/*", "/b"])), "/a/x", "/c"),
        (Test::SubsetOf(texts(&["/a/*", "/b"])), "/b", "/a/x/y"),
    ] {
        assert!(test.holds(holds) && !test.holds(fails), "{test:?}");
    }
    for (order, below, same, above) in [
        (Order::Equal, false, true, false),
        (Order::Lt, true, false, false),
        (Order::Lte, true, true, false),
        (Order::Gt, false, false, true),
        (Order::Gte, false, true, true),
    ] {
        assert_eq!([9, 10, 11].map(|value| order.holds(value, 10)), [below, same, above], "{order:?}");
    }
}

/// Stopping takes one path, letting pass takes all; `intersects` and `subset_of` say which they mean.
#[test]
fn several_paths_are_met_by_one_or_by_all() {
    let globs = || vec!["/w/**".to_owned()];
    for (test, verdict, matches) in [
        (Test::Under("/w".into()), RuleVerdict::Deny, true),
        (Test::Under("/w".into()), RuleVerdict::Allow, false),
        (Test::NotIn(vec!["/w/a".into()]), RuleVerdict::Deny, true),
        (Test::NotIn(vec!["/w/a".into()]), RuleVerdict::Allow, false),
        (Test::Intersects(globs()), RuleVerdict::Deny, true),
        (Test::Intersects(globs()), RuleVerdict::Allow, true),
        (Test::SubsetOf(globs()), RuleVerdict::Deny, false),
        (Test::SubsetOf(globs()), RuleVerdict::Allow, false),
    ] {
        let of = rule("r", verdict, &[(Field::Path, test.clone())]);
        assert_eq!(of.matches(&writing(&["/w/a", "/x"])), matches, "{verdict:?} {test:?}");
        assert!(!of.matches(&writing(&[])), "nothing holds of no paths: {test:?}");
        if let Test::Under(_) | Test::SubsetOf(_) = test {
            assert!(of.matches(&writing(&["/w/a", "/w/b"])));
        }
    }
}

#[test]
fn an_exception_is_as_careful_as_its_rule() {
    let with = |verdict| Rule { unless: conditions(&[under("/w/tmp")]), ..rule("r", verdict, &[under("/w")]) };
    let (both, one, none) =
        (writing(&["/w/tmp/a", "/w/tmp/b"]), writing(&["/w/tmp/a", "/w/b"]), writing(&["/w/a", "/w/b"]));
    let matches = |verdict| [&both, &one, &none].map(|call| with(verdict).matches(call));
    // A deny is lifted where every path is excepted, an allow is taken away by the first that is.
    assert_eq!(matches(RuleVerdict::Deny), [false, true, true]);
    assert_eq!(matches(RuleVerdict::Allow), [false, false, true]);
    let unknown = Subject { paths: None, ..none };
    let all = |verdict| Rule { when: Conditions::new(), ..with(verdict) };
    assert!(all(RuleVerdict::Deny).matches(&unknown) && all(RuleVerdict::Ask).matches(&unknown));
    assert!(!all(RuleVerdict::Allow).matches(&unknown), "what is pushed may be excepted");
}

#[test]
fn a_call_that_may_touch_more_paths_meets_every_rule_about_paths() {
    let facts = |more_paths| Facts {
        more_paths,
        ..Facts::new(EffectClass::Write, vec![PathFact { access: Access::Write, real: "/w/a".into() }])
    };
    let secret = rule("secret", RuleVerdict::Deny, &[under("/secret")]);
    let fine = rule("fine", RuleVerdict::Allow, &[under("/w")]);
    assert!(!secret.matches(&Subject::of_facts(&facts(false))) && fine.matches(&Subject::of_facts(&facts(false))));
    assert!(secret.matches(&Subject::of_facts(&facts(true))) && !fine.matches(&Subject::of_facts(&facts(true))));
}

#[test]
fn each_part_of_where_a_call_goes_is_met_by_its_own_field() {
    let url = Url::read("https://eu.api.test:8443/v1/orders?q").unwrap();
    let facts = Facts {
        destination: Some(Destination::of(&url, Method::Post, 0)),
        ..Facts::new(EffectClass::Send, Vec::new())
    };
    let nowhere = Facts::new(EffectClass::Send, Vec::new());
    let number = |order, value| Test::Number(vec![(order, value)]);
    for (field, met, missed) in [
        (Field::Host, Test::SubdomainOf("api.test".into()), Test::Equal("api.test".into())),
        (Field::Port, number(Order::Equal, 8_443), number(Order::Lt, 1_024)),
        (Field::Method, Test::AnyOf(vec!["PUT".into(), "POST".into()]), Test::Equal("GET".into())),
        (Field::UrlPath, Test::Under("/v1".into()), Test::Equal("/v1".into())),
        (Field::UrlBytes, number(Order::Equal, 36), number(Order::Gt, 36)),
    ] {
        let (allow, deny) = (RuleVerdict::Allow, RuleVerdict::Deny);
        let matches =
            |verdict, test: &Test, call: &Subject<'_>| rule("r", verdict, &[(field, test.clone())]).matches(call);
        for verdict in [allow, deny] {
            assert!(matches(verdict, &met, &Subject::of_facts(&facts)), "{field:?}");
            assert!(!matches(verdict, &missed, &Subject::of_facts(&facts)), "{field:?}");
            assert!(!matches(verdict, &met, &Subject::of_facts(&nowhere)), "{field:?} holds of what goes nowhere");
        }
        for unknown in [Going::Unknown, Going::To(To::default())] {
            let call = Subject { going: unknown, ..Subject::of_facts(&facts) };
            assert!(matches(deny, &missed, &call) && !matches(allow, &met, &call), "{field:?} {unknown:?}");
        }
    }
}

#[test]
fn a_rule_on_hosts_speaks_of_every_place_that_a_command_may_reach() {
    use backstay_kernel::destination::Method::{Get, Head};
    let place = |host: &str, methods: &[Method], tunnel| Reachable {
        host: host.into(),
        port: 443,
        methods: methods.to_vec(),
        tunnel,
    };
    let facts = |network| Facts { network, ..Facts::new(EffectClass::Execute, Vec::new()) };
    let two = facts(vec![place("a.test", &[Get, Head], false), place("b.test", &[Get], false)]);
    let (allow, deny) = (RuleVerdict::Allow, RuleVerdict::Deny);
    let matches = |verdict, field, test: Test, facts: &Facts| {
        rule("r", verdict, &[(field, test)]).matches(&Subject::of_facts(facts))
    };
    let equal = |word: &str| Test::Equal(word.into());
    assert!(matches(deny, Field::Host, equal("b.test"), &two) && !matches(deny, Field::Host, equal("c.test"), &two));
    assert!(!matches(allow, Field::Host, equal("a.test"), &two), "one is not all");
    assert!(matches(allow, Field::Host, Test::AnyOf(vec!["a.test".into(), "b.test".into()]), &two));
    assert!(matches(deny, Field::Method, equal("HEAD"), &two) && !matches(allow, Field::Method, equal("GET"), &two));
    // What it asks for there, and how much that says, nobody knows beforehand.
    assert!(matches(deny, Field::UrlPath, Test::Under("/x".into()), &two));
    assert!(!matches(allow, Field::UrlPath, Test::Under("/".into()), &two));
    let few = || Test::Number(vec![(Order::Lt, 10)]);
    assert!(matches(deny, Field::UrlBytes, few(), &two) && !matches(allow, Field::UrlBytes, few(), &two));
    let tunnel = facts(vec![place("a.test", &[Get], true)]);
    assert!(matches(deny, Field::Method, equal("DELETE"), &tunnel));
    assert!(
        !matches(allow, Field::Method, equal("GET"), &tunnel) && matches(allow, Field::Host, equal("a.test"), &tunnel)
    );
}

#[test]
fn hours_and_days_are_those_of_the_zone() {
    let zone =
        Zone { name: "Far".into(), offsets: vec![Offset { from: 0, seconds: -13 * 3_600 }], until: NOON + 10 * HOUR };
    let friday = |zone: &Zone| (Field::Weekday, Test::Weekday(Days { days: vec![Weekday::Fri], zone: zone.clone() }));
    let late = (Field::Clock, Test::Clock(Hours { from: 1_380, until: 1_440, zone: zone.clone() }));
    let at = |now| Subject { now: Some(now), ..writing(&["/w/a"]) };
    assert!(rule("r", RuleVerdict::Allow, &[late.clone(), friday(&zone)]).matches(&at(NOON)));
    assert!(!rule("r", RuleVerdict::Allow, &[friday(&Zone::utc())]).matches(&at(NOON)));
    assert!(!rule("r", RuleVerdict::Allow, std::slice::from_ref(&late)).matches(&at(NOON + HOUR)));
    // Where the zone's offsets end, nobody knows the time.
    let beyond = at(NOON + 10 * HOUR);
    assert!(!rule("r", RuleVerdict::Allow, &[friday(&zone)]).matches(&beyond));
    assert!(rule("r", RuleVerdict::Deny, &[friday(&zone)]).matches(&beyond));
}

#[test]
fn a_rule_ends_when_it_says() {
    let ends = |verdict| Rule { until: Some(NOON), ..rule("r", verdict, &[]) };
    let at = |now| Subject { now, ..writing(&[]) };
    assert!(ends(RuleVerdict::Deny).matches(&at(Some(NOON - 1))));
    assert!(!ends(RuleVerdict::Deny).matches(&at(Some(NOON))));
    assert!(ends(RuleVerdict::Deny).matches(&at(None)) && !ends(RuleVerdict::Allow).matches(&at(None)));
}

/// A call that waits for a slot is judged by the hour in which it starts.
#[test]
fn hours_that_pass_while_a_call_waits_are_over_when_it_starts() {
    let mut t = TestSession::new();
    t.now = NOON;
    t.agent().rules = vec![rule("till one", RuleVerdict::Allow, &[hours(720, 780)])];
    t.slots.tool = 0;
    t.type_in(1);
    t.reply(&[("mail", 1)]);
    let effect = *t.session.effects.keys().last().unwrap();
    assert_eq!(t.effect(effect).state, State::Ready);
    t.now += HOUR;
    t.slots.tool = 8;
    t.settle();
    let by = |verdict: &Verdict| matches!(verdict, Verdict::Ask { by: Reason::ClassDefault, .. });
    assert!(matches!(t.records.last(), Some(Record::Judged(judged)) if by(&judged.verdict)), "{:?}", t.records.last());
    assert!(matches!(t.effect(effect).state, State::Asked { .. }));
}

/// A person's yes stands in for the question that it answered, whatever the hour, for no other one, and never for a deny.
#[test]
fn a_yes_stands_for_its_own_question_and_for_no_later_one() {
    for (always, later, starts) in
        [(true, RuleVerdict::Ask, true), (false, RuleVerdict::Ask, false), (true, RuleVerdict::Deny, false)]
    {
        let mut t = TestSession::new();
        t.now = NOON + HOUR - 1;
        t.agent().rules = vec![rule("from one on", later, &[hours(780, 1_440)])];
        if always {
            t.agent().rules.insert(0, rule("always", RuleVerdict::Ask, &[]));
        }
        t.slots.tool = 0;
        t.say(1);
        t.reply(&[("mail", 1)]);
        let effect = *t.session.effects.keys().last().unwrap();
        t.decide(effect, true).unwrap();
        t.now = NOON + HOUR;
        t.slots.tool = 8;
        t.settle();
        let started = matches!(t.session.effects.get(&effect).map(|open| &open.state), Some(State::Started { .. }));
        assert_eq!(started, starts, "{always} {later:?}");
    }
}

#[test]
fn what_runs_is_allowed_by_its_class_only_where_it_is_held() {
    let of = |class, tier| ruling(&[], &Subject { class, tier, ..Subject::default() }).verdict;
    use EffectClass::{Execute, Send, Spend};
    for (class, tier, verdict) in [
        (Some(Execute), Some(Tier::Full), RuleVerdict::Allow),
        (Some(Execute), None, RuleVerdict::Ask),
        (Some(Send), Some(Tier::Full), RuleVerdict::Ask),
        (Some(Spend), Some(Tier::Full), RuleVerdict::Ask),
        (None, Some(Tier::Full), RuleVerdict::Ask),
    ] {
        assert_eq!(of(class, tier), verdict, "{class:?} {tier:?}");
    }
}

#[test]
fn every_program_of_a_call_is_granted_or_the_call_is_not() {
    let t = TestSession::new();
    let mut agent = t.policy.agents.values().next().unwrap().clone();
    let programs = ["sh", "git"].map(str::to_owned).to_vec();
    let facts = Facts { programs, ..Facts::new(EffectClass::Execute, Vec::new()) };
    for (granted, possible) in
        [(&[][..], false), (&["sh"], false), (&["git", "sh"], true), (&["*"], true), (&["s*", "git"], false)]
    {
        agent.grants.programs = granted.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(is_granted(&agent, Some("mail"), &facts, &t.policy), possible, "{granted:?}");
    }
}

/// What has entered the session is a fact of each of its calls.
#[test]
fn a_rule_may_look_at_the_label_of_the_session() {
    let mut t = TestSession::new();
    let tainted = (Field::LabelIntegrity, Test::Equal("untrusted".into()));
    t.agent().rules = vec![rule("tainted", RuleVerdict::Deny, &[tainted])];
    t.say(1);
    t.reply(&[("mail", 1)]);
    let Some(Record::Judged(judged)) = t.records.iter().find(|record| matches!(record, Record::Judged(_))) else {
        panic!()
    };
    assert_eq!(judged.verdict, Verdict::Deny { by: Reason::Rule("tainted".into()) });
    assert_eq!(judged.grounds.as_ref().unwrap().used, [Used::LabelIntegrity(Integrity::Untrusted)]);
}

/// A verdict can be read without the policy that gave it.
#[test]
fn a_verdict_says_its_rule_what_it_looked_at_and_its_policy() {
    let mut t = TestSession::new();
    t.policy.digest = Digest([9; 32]);
    let large = (Field::BytesOut, Test::Number(vec![(Order::Gt, 10)]));
    let owner = (Field::Role, Test::Equal("owner".into()));
    let unless = conditions(&[(Field::Channel, Test::Equal("chat".into()))]);
    t.agent().rules = vec![Rule { line: 40, unless, ..rule("large", RuleVerdict::Deny, &[large, owner]) }];
    t.say(1);
    t.reply(&[("mail", 1), ("read", 2)]);
    let of = |record: &Record| if let Record::Judged(judged) = record { judged.grounds.clone() } else { None };
    let grounds: Vec<Grounds> = t.records.iter().filter_map(of).map(|grounds| *grounds).collect();
    let policy = Digest([9; 32]);
    let used = vec![Used::Role(Role::Owner), Used::Channel("api".into()), Used::Missing(Field::BytesOut)];
    assert_eq!(
        grounds,
        [
            Grounds {
                policy,
                line: Some(40),
                used,
                origins: vec![],
                warrant: None,
                is_clear: false,
                composed: None,
                reads: None,
                arguments: None,
            },
            Grounds {
                policy,
                line: None,
                used: vec![],
                origins: vec![],
                warrant: None,
                is_clear: false,
                composed: None,
                reads: None,
                arguments: None,
            }
        ]
    );
}

fn any_condition() -> impl Strategy<Value = (Field, Test)> {
    let texts = |of: &'static [&'static str]| {
        subsequence(of, 1..=of.len()).prop_map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let word = |field: Field, of: &'static [&'static str]| {
        let equal = select(of).prop_map(|word: &str| Test::Equal(word.to_owned()));
        let test = prop_oneof![equal, texts(of).prop_map(Test::AnyOf), texts(of).prop_map(Test::NotIn)];
        test.prop_map(move |test| (field, test))
    };
    const PATHS: &[&str] = &["/w", "/w/a", "/w/b", "/x"];
    const GLOBS: &[&str] = &["/w/*", "/x/**", "/w"];
    let path = prop_oneof![
        select(PATHS).prop_map(|path| Test::Under(path.to_owned())),
        texts(PATHS).prop_map(Test::NotIn),
        texts(PATHS).prop_map(Test::AnyOf),
        texts(GLOBS).prop_map(Test::Intersects),
        texts(GLOBS).prop_map(Test::SubsetOf),
        select(GLOBS).prop_map(|glob| Test::Glob(glob.to_owned())),
    ];
    let order = select(vec![Order::Equal, Order::Lt, Order::Lte, Order::Gt, Order::Gte]);
    let number = prop::collection::vec((order, 0u64..4), 1..3).prop_map(Test::Number);
    let clock = (0u16..1_440, 0u16..=1_440).prop_map(|(from, until)| hours(from, until));
    let days = subsequence(Weekday::ALL.to_vec(), 1..7)
        .prop_map(|days| (Field::Weekday, Test::Weekday(Days { days, zone: Zone::utc() })));
    prop_oneof![
        word(Field::Agent, &["main", "other"]),
        word(Field::Principal, &["ann", "bob"]),
        word(Field::Role, &["owner", "user"]),
        word(Field::Channel, &["api", "chat"]),
        word(Field::Tool, &["read", "write", "mail"]),
        word(Field::Class, &["read", "write", "send"]),
        word(Field::LabelConf, &["public", "internal", "secret"]),
        word(Field::LabelIntegrity, &["untrusted", "trusted"]),
        word(Field::Mode, &["normal", "dry_run", "read_only"]),
        path.prop_map(|test| (Field::Path, test)),
        (select(vec![Field::BytesOut, Field::Port, Field::UrlBytes]), number),
        word(Field::Host, &["a.test", "b.test"]),
        select(vec!["a.test", "test"]).prop_map(|name: &str| (Field::Host, Test::SubdomainOf(name.to_owned()))),
        word(Field::Method, &["GET", "POST"]),
        select(vec!["/", "/v1"]).prop_map(|path: &str| (Field::UrlPath, Test::Under(path.to_owned()))),
        clock,
        days,
    ]
}

pub fn any_rule() -> impl Strategy<Value = Rule> {
    let verdict = select(vec![RuleVerdict::Allow, RuleVerdict::Ask, RuleVerdict::Deny]);
    let some = |most| prop::collection::vec(any_condition(), 0..most).prop_map(|list| conditions(&list));
    let until = prop::option::weighted(0.2, NOON - 24 * HOUR..NOON + 48 * HOUR);
    (verdict, some(3), some(3), until).prop_map(|(verdict, when, unless, until)| Rule {
        unless,
        until,
        ..Rule::new("any", verdict, when)
    })
}

pub fn any_subject() -> impl Strategy<Value = Subject<'static>> {
    let paths = subsequence(vec!["/w", "/w/a", "/w/b", "/x", "/x/y/z"], 0..4);
    let classes = select(vec![EffectClass::Read, EffectClass::Write, EffectClass::Execute, EffectClass::Send]);
    let names = (select(vec!["main", "other"]), select(vec!["ann", "bob"]), select(vec!["api", "chat"]));
    let tool = select(vec!["read", "write", "mail"]);
    let role = select(vec![Role::Owner, Role::User]);
    let conf = select(vec![Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret]);
    let tier = (select(vec![None, Some(Tier::Full)]), select(WorkMode::ALL.to_vec()));
    let label = (conf, select(vec![Integrity::Untrusted, Integrity::Trusted]), tier);
    let to = (select(vec!["a.test", "b.test", "test"]), 0u16..4, select(vec!["/", "/v1", "/v1/a"]), 0u64..4).prop_map(
        |(host, port, path, url_bytes)| {
            let (host, path, method) = (Some(host), Some(path), Some(Method::Post));
            Going::To(To { host, port: Some(port), method, path, url_bytes: Some(url_bytes) })
        },
    );
    let going = prop_oneof![Just(Going::Nowhere), to];
    (names, tool, role, classes, paths, (0u64..4, going), NOON..NOON + 24 * HOUR, label).prop_map(
        |(
            (agent, principal, channel),
            tool,
            role,
            class,
            paths,
            (bytes_out, going),
            now,
            (conf, integrity, (tier, mode)),
        )| {
            Subject {
                agent: Some(agent),
                principal: Some(principal),
                role: Some(role),
                channel: Some(channel),
                tool: Some(tool),
                class: Some(class),
                tier,
                paths: Some(paths),
                bytes_out: Some(bytes_out),
                going,
                now: Some(now),
                conf: Some(conf),
                integrity: Some(integrity),
                mode: Some(mode),
            }
        },
    )
}

pub fn forget(subject: &mut Subject<'_>, fact: usize) {
    match fact {
        0 => subject.agent = None,
        1 => subject.principal = None,
        2 => subject.role = None,
        3 => subject.channel = None,
        4 => subject.tool = None,
        5 => subject.class = None,
        6 => subject.paths = None,
        7 => subject.bytes_out = None,
        8 => subject.conf = None,
        9 => subject.integrity = None,
        10 => subject.tier = None,
        11 => subject.going = Going::Unknown,
        12..=16 => {
            if let Going::To(to) = &mut subject.going {
                match fact {
                    12 => to.host = None,
                    13 => to.port = None,
                    14 => to.method = None,
                    15 => to.path = None,
                    _ => to.url_bytes = None,
                }
            }
        }
        17 => subject.mode = None,
        _ => subject.now = None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// A command is judged as strictly as any request that it may make, or more so.
    #[test]
    fn what_may_reach_many_is_judged_no_milder_than_one_of_its_requests(
        rules in prop::collection::vec(any_rule(), 0..6), whole in any_subject(),
        hosts in subsequence(vec!["a.test", "b.test", "test"], 1..4), port in 0u16..4,
        methods in subsequence(vec![Method::Get, Method::Post], 1..3), tunnel in any::<bool>(),
        (host, method) in (any::<Index>(), any::<Index>()),
        (path, bytes) in (select(vec!["/", "/v1", "/v1/a"]), 0u64..4),
    ) {
        let of = |host: &&str| Reachable { host: (*host).to_owned(), port, methods: methods.clone(), tunnel };
        let places: Vec<Reachable> = hosts.iter().map(of).collect();
        // What a tunnel carries may be anything.
        let method = if tunnel { Method::Delete } else { *method.get(&methods) };
        let (host, port, method) = (Some(*host.get(&hosts)), Some(port), Some(method));
        let to = To { host, port, method, path: Some(path), url_bytes: Some(bytes) };
        let request = Subject { going: Going::To(to), ..whole.clone() };
        let command = Subject { going: Going::Any(&places), ..whole };
        prop_assert!(ruling(&rules, &command).verdict >= ruling(&rules, &request).verdict);
    }

    /// I8: whatever is forgotten of a call, the verdict is the same or stricter.
    #[test]
    fn removing_a_fact_never_widens(
        rules in prop::collection::vec(any_rule(), 0..6), whole in any_subject(),
        forgotten in prop::collection::vec(0usize..19, 1..5),
    ) {
        let mut less = whole.clone();
        forgotten.into_iter().for_each(|fact| forget(&mut less, fact));
        let (before, after) = (ruling(&rules, &whole), ruling(&rules, &less));
        prop_assert!(after.verdict >= before.verdict, "{before:?} became {after:?}");
    }

    /// The exception of a deny or an ask only ever takes from what it matches, that of an allow too.
    #[test]
    fn an_exception_never_makes_a_rule_match(rules in prop::collection::vec(any_rule(), 1..4), call in any_subject()) {
        for rule in rules {
            let plain = Rule { unless: Conditions::new(), ..rule.clone() };
            prop_assert!(plain.matches(&call) || !rule.matches(&call));
        }
    }

    #[test]
    fn the_order_of_rules_does_not_change_the_verdict(
        rules in prop::collection::vec(any_rule(), 2..6), call in any_subject(), at in any::<Index>(),
    ) {
        let mut turned = rules.clone();
        turned.rotate_left(at.index(rules.len()));
        prop_assert_eq!(ruling(&rules, &call).verdict, ruling(&turned, &call).verdict);
    }
}
