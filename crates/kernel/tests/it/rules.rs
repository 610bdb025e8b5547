//! What rules say of a call, and that no missing fact ever says more than the fact would.
use std::collections::BTreeSet;
use std::sync::LazyLock;

use backstay_kernel::clock::{Days, Hours, Offset, Weekday, Zone};
use backstay_kernel::destination::{Audience, Destination, Method, Reachable};
use backstay_kernel::facts::{Access, Addressed, Facts, PathFact, Tier};
use backstay_kernel::flow::{Provenance, addressed, folded};
use backstay_kernel::git::{Git, Push};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::Digest;
use backstay_kernel::judge::is_granted;
use backstay_kernel::label::{Confidentiality, Integrity, Source, Sources};
use backstay_kernel::mode::WorkMode;
use backstay_kernel::money::Money;
use backstay_kernel::policy::Role;
use backstay_kernel::reached::Seen;
use backstay_kernel::record::{Grounds, Reason, Record, Used, Verdict};
use backstay_kernel::rule::{Conditions, Field, Order, Rule, RuleVerdict, Test};
use backstay_kernel::rules::Rules;
use backstay_kernel::session::State;
use backstay_kernel::subject::{Going, Subject, To, With, ruling};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Manifest};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Atom, Kind};
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
        reversible: Some(true),
        speaks: Some(Speaks::Human),
        tier: Some(None),
        programs: Some(Vec::new()),
        commands: Some(Vec::new()),
        paths: Some(paths.to_vec()),
        bytes_out: Some(100),
        values: Some(&[]),
        going: Going::Nowhere,
        git: With::None,
        now: Some(NOON),
        conf: Some(Confidentiality::Internal),
        integrity: Some(Integrity::Trusted),
        sources: Some(Sources::only(Source::Config)),
        provenance: Some(&CHOSEN[0]),
        audience: Some(Vec::new()),
        mode: Some(WorkMode::Normal),
        seen: Some(None),
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
        ..Facts::new(EffectClass::Write, vec![PathFact::new(Access::Write, "/w/a".into())])
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

/// Of a declared tool that spends and is given these values.
fn paying(values: &[(Kind, &str)], more: bool) -> Facts {
    Facts {
        declared: Some(Box::default()),
        addressed: Some(Box::new(Addressed {
            values: values.iter().map(|(kind, text)| folded(Atom::of(*kind, text).unwrap())).collect(),
            more,
        })),
        ..Facts::new(EffectClass::Spend, Vec::new())
    }
}

#[test]
fn rules_on_whom_and_how_much_are_met_by_the_values_of_declared_tools() {
    let money = |order, text| Test::Amount(vec![(order, Money::read(text).unwrap())]);
    let equal = |text: &str| Test::Equal(text.to_owned());
    let facts = paying(
        &[
            (Kind::Email, "Ann@X.test"),
            (Kind::Email, "bob@y.test"),
            (Kind::Account, "CH93 0076 2011 6238 5295 7"),
            (Kind::Money, "€50"),
        ],
        false,
    );
    let (allow, deny) = (RuleVerdict::Allow, RuleVerdict::Deny);
    let matches = |verdict, field, test: &Test, call: &Facts| {
        rule("r", verdict, &[(field, test.clone())]).matches(&Subject::of_facts(call))
    };
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
    // (field, test, denied by it, allowed by it)
    for (field, test, denies, allows) in [
        (Field::Recipient, equal("bob@y.test"), true, false),
        (Field::Recipient, equal("ann@x.test"), true, false),
        (Field::Recipient, Test::Glob("*@*.test".into()), true, true),
        (Field::Recipient, Test::NotIn(globs(&["bob@y.test"])), true, false),
        (Field::Recipient, Test::SubsetOf(globs(&["*@x.test", "*@y.test"])), true, true),
        (Field::Recipient, Test::Intersects(globs(&["*@x.test"])), true, true),
        (Field::Account, equal("CH9300762011623852957"), true, true),
        (Field::Amount, money(Order::Lte, "50 EUR"), true, true),
        (Field::Amount, money(Order::Gt, "50 EUR"), false, false),
        // Which is more, nobody knows.
        (Field::Amount, money(Order::Gt, "50 USD"), true, false),
        (Field::Amount, money(Order::Lt, "100"), true, false),
    ] {
        assert_eq!(
            (matches(deny, field, &test, &facts), matches(allow, field, &test, &facts)),
            (denies, allows),
            "{field:?} {test:?}"
        );
    }
    let all = [
        (Field::Recipient, Test::Glob("**".into())),
        (Field::Account, Test::Glob("**".into())),
        (Field::Amount, money(Order::Gte, "0 EUR")),
    ];
    let request = Facts { declared: None, addressed: None, ..paying(&[], false) };
    let unreadable = Facts { addressed: paying(&[], true).addressed, ..facts.clone() };
    let file = Facts::new(EffectClass::Write, Vec::new());
    for (field, test) in &all {
        for unknown in [&unreadable, &request] {
            assert!(
                matches(deny, *field, test, unknown) && !matches(allow, *field, test, unknown),
                "{field:?} of {unknown:?}"
            );
        }
        for without in [&paying(&[], false), &file] {
            assert!(!matches(deny, *field, test, without) && !matches(allow, *field, test, without), "{field:?}");
        }
    }
    let two = paying(&[(Kind::Number, "40"), (Kind::Number, "60")], false);
    assert!(matches(deny, Field::Amount, &money(Order::Gt, "50"), &two));
    assert!(!matches(allow, Field::Amount, &money(Order::Lte, "50"), &two));
}

#[test]
fn what_a_call_is_told_of_whom_and_how_much_is_read_by_its_manifest() {
    let t = crate::harness::TestSession::new();
    let role = |name: &str, role| (String::from(name), role);
    let manifest = Manifest {
        arguments: vec![
            role("to", ArgumentRole::Authority(Kind::Email)),
            role("who", ArgumentRole::Authority(Kind::Handle)),
            role("what", ArgumentRole::Authority(Kind::QuotedString)),
            role("sum", ArgumentRole::UpTo(5)),
            role("iban", ArgumentRole::Authority(Kind::Account)),
            role("page", ArgumentRole::Authority(Kind::Url)),
            role("id", ArgumentRole::Selector),
            role("text", ArgumentRole::Payload),
        ],
        ..t.policy.tools["mail"].clone()
    };
    let email = |text: &str| Atom(Kind::Email, text.into());
    let elsewhere = vec![Atom(Kind::QuotedString, "id 7".into()), Atom(Kind::Url, "https://a.test/".into())];
    for (arguments, values, more) in [
        (
            r#"{"to":["Ann@X.test","b@y.test"],"text":"c@z.test 5 EUR"}"#,
            vec![email("ann@x.test"), email("b@y.test")],
            false,
        ),
        (r#"{"to":null,"page":"https://a.test","id":7}"#, elsewhere, false),
        (r#"{"page":"a test"}"#, vec![], true),
        (r#"{"sum":"3.50"}"#, vec![Atom(Kind::Number, "3.5".into())], false),
        (r#"{"to":"Ann <ann@x.test>"}"#, vec![], true),
        (r#"{"to":[]}"#, vec![], true),
        // To one program half a thousand, to another fifty.
        (r#"{"sum":"50,00"}"#, vec![Atom(Kind::Number, "50".into())], true),
        (r#"{"sum":"0.500"}"#, vec![], true),
        (r#"{"iban":"012345678"}"#, vec![Atom(Kind::Account, "012345678".into())], true),
        (r#"{"who":"@ann"}"#, vec![], true),
        (r#"{"what":"ann@x.test"}"#, vec![], true),
        (r#"{"cc":"ann@x.test"}"#, vec![], true),
        (r#"{"sum":{"of":3}}"#, vec![], true),
        ("[]", vec![], true),
    ] {
        let expected = (more || !values.is_empty()).then_some(Addressed { values, more });
        assert_eq!(addressed(&manifest, EffectClass::Send, arguments), expected, "{arguments}");
    }
}

#[test]
fn what_a_call_does_with_a_repository_is_met_by_the_fields_of_it() {
    let push = Push {
        old: Some("1".repeat(40)),
        new: "2".repeat(40),
        force: true,
        changed: Some(vec!["src/a.rs".into(), ".github/workflows/ci.yml".into()]),
        acts: true,
    };
    let git = |push: Option<Push>, refs: &[&str]| Facts {
        git: Some(Box::new(Git {
            repo: "git.test/acme/app".into(),
            refs: refs.iter().map(|name| (*name).into()).collect(),
            push: push.map(Box::new),
        })),
        ..Facts::new(EffectClass::Send, Vec::new())
    };
    let pushed = git(Some(push.clone()), &["refs/heads/agent/x"]);
    let (text, texts) = (|word: &str| Test::Equal(word.into()), |word: &str| vec![word.to_owned()]);
    let (allow, deny) = (RuleVerdict::Allow, RuleVerdict::Deny);
    let matches =
        |verdict, field, test: &Test, call: &Subject<'_>| rule("r", verdict, &[(field, test.clone())]).matches(call);
    for (field, met, missed) in [
        (Field::Repo, Test::Under("git.test/acme".into()), text("git.test/acme")),
        (Field::Ref, Test::Glob("refs/heads/agent/*".into()), text("refs/heads/main")),
        (Field::Force, text("true"), text("false")),
        (Field::Changed, Test::Intersects(texts(".github/**")), Test::SubsetOf(texts("src/*"))),
    ] {
        let nowhere = Facts::new(EffectClass::Send, Vec::new());
        for verdict in [allow, deny] {
            assert!(matches(verdict, field, &met, &Subject::of_facts(&pushed)), "{field:?}");
            assert!(!matches(verdict, field, &missed, &Subject::of_facts(&pushed)), "{field:?}");
            assert!(!matches(verdict, field, &met, &Subject::of_facts(&nowhere)), "{field:?} of what speaks with none");
        }
        let silent = With::Repository { repo: None, refs: None, force: None, changed: None };
        for unknown in [With::Unknown, silent] {
            let call = Subject { git: unknown, ..Subject::of_facts(&pushed) };
            assert!(matches(deny, field, &missed, &call) && !matches(allow, field, &met, &call), "{field:?}");
            assert_eq!(call.used(field), Used::Missing(field));
        }
        assert_ne!(Subject::of_facts(&pushed).used(field), Used::Missing(field));
    }
    // What nobody can tell stops a call and lets none pass.
    let unknown = git(Some(Push { changed: None, ..push }), &["refs/heads/agent/x"]);
    let source = Test::SubsetOf(texts("src/**"));
    assert!(matches(deny, Field::Changed, &Test::Intersects(texts("x")), &Subject::of_facts(&unknown)));
    assert!(!matches(allow, Field::Changed, &source, &Subject::of_facts(&unknown)));
    // What only fetches changes nothing there; of several refs one stops it, and all must fit.
    let fetched = git(None, &["HEAD", "refs/heads/main"]);
    let fetched = Subject::of_facts(&fetched);
    assert!(matches(deny, Field::Ref, &text("HEAD"), &fetched) && !matches(allow, Field::Ref, &text("HEAD"), &fetched));
    assert!(matches(allow, Field::Force, &text("false"), &fetched));
    assert!(!matches(deny, Field::Changed, &Test::Intersects(texts("**")), &fetched));
}

/// What nobody has looked into may be git.
#[test]
fn with_which_repository_a_request_or_a_command_speaks_may_be_unknown() {
    let (allow, deny) = (RuleVerdict::Allow, RuleVerdict::Deny);
    let matches = |verdict, field, test: &Test, facts: &Facts| {
        rule("r", verdict, &[(field, test.clone())]).matches(&Subject::of_facts(facts))
    };
    let repo = |name: &str| Test::Equal(name.into());
    let secret = repo("git.test/acme/secret");
    let places = ["git.test", "other.test"].map(|host| Reachable {
        host: host.into(),
        port: 443,
        methods: vec![Method::Get],
        tunnel: false,
    });
    let command = Facts { network: places.into(), ..Facts::new(EffectClass::Execute, Vec::new()) };
    for (field, test) in [(Field::Repo, &secret), (Field::Force, &repo("true")), (Field::Ref, &repo("refs/heads/main"))]
    {
        assert!(matches(deny, field, test, &command) && !matches(allow, field, test, &command), "{field:?}");
        let quiet = Facts::new(EffectClass::Execute, Vec::new());
        assert!(!matches(deny, field, test, &quiet), "{field:?}");
    }
    let get = |url: &str| Facts {
        destination: Some(Destination::of(&Url::read(url).unwrap(), Method::Get, 0)),
        ..Facts::new(EffectClass::Send, Vec::new())
    };
    for (url, denied) in [
        ("https://git.test/acme/secret/info/refs?service=git-upload-pack", true),
        ("https://git.test/Acme/secret.git/info/refs", true),
        ("https://git.test/acme/secret/git-receive-pack", true),
        ("https://git.test/acme/secret.git/objects/12/34", true),
        ("https://git.test/acme/secret/HEAD", true),
        ("https://git.test/acme/other/info/refs", false),
        ("https://git.test:8443/acme/secret/info/refs", false),
        ("https://git.test/acme/secret/issues", false),
        ("https://git.test/acme/secret", false),
    ] {
        assert_eq!(matches(deny, Field::Repo, &secret, &get(url)), denied, "{url}");
        assert!(!matches(allow, Field::Repo, &secret, &get(url)), "{url}");
        let is_git = !url.ends_with("secret") && !url.ends_with("issues");
        assert_eq!(matches(deny, Field::Force, &repo("true"), &get(url)), is_git, "{url}");
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
    let two = facts([place("a.test", &[Get, Head], false), place("b.test", &[Get], false)].into());
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
    let tunnel = facts([place("a.test", &[Get], true)].into());
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
    t.agent().rules = vec![rule("till one", RuleVerdict::Allow, &[hours(720, 780)])].into();
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
        t.agent().rules = vec![rule("from one on", later, &[hours(780, 1_440)])].into();
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
        (Some(Execute), Some(Some(Tier::Full)), RuleVerdict::Allow),
        (Some(Execute), Some(Some(Tier::Copy)), RuleVerdict::Allow),
        (Some(Execute), Some(None), RuleVerdict::Ask),
        (Some(Execute), None, RuleVerdict::Ask),
        (Some(Send), Some(Some(Tier::Full)), RuleVerdict::Ask),
        (Some(Spend), Some(Some(Tier::Full)), RuleVerdict::Ask),
        (None, Some(Some(Tier::Full)), RuleVerdict::Ask),
    ] {
        assert_eq!(of(class, tier), verdict, "{class:?} {tier:?}");
    }
}

#[test]
fn every_program_of_a_call_is_granted_or_the_call_is_not() {
    let t = TestSession::new();
    let mut agent = t.policy.agents.values().next().unwrap().clone();
    let programs = ["sh", "git"].map(str::to_owned).to_vec();
    let facts = Facts { programs: programs.into(), ..Facts::new(EffectClass::Execute, Vec::new()) };
    for (granted, possible) in
        [(&[][..], false), (&["sh"], false), (&["git", "sh"], true), (&["*"], true), (&["s*", "git"], false)]
    {
        agent.grants.programs = granted.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(is_granted(&agent, Some("mail"), &facts, &t.policy), possible, "{granted:?}");
    }
}

/// What has entered the session is a fact of each of its calls.
#[test]
fn of_rules_about_other_paths_and_tools_none_is_looked_at() {
    let of_path = |number| rule("path", RuleVerdict::Deny, &[under(&format!("/w/kept-{number}"))]);
    let of_tool = |number: u32| rule("tool", RuleVerdict::Ask, &[(Field::Tool, Test::Equal(format!("t{number}")))]);
    let mut rules: Rules = (0..250).map(of_path).chain((0..250).map(of_tool)).collect();
    rules
        .extend((0..100).map(|n| rule("program", RuleVerdict::Ask, &[(Field::Program, Test::Equal(format!("p{n}")))])));
    let subcommands = |n: u32| Test::AnyOf(vec![format!("p{n} push"), format!("p{n} pull")]);
    rules.extend((0..100).map(|n| rule("subcommand", RuleVerdict::Ask, &[(Field::Subcommand, subcommands(n))])));
    rules.push(rule("any", RuleVerdict::Allow, &[]));
    assert_eq!(rules.near(&writing(&["/w/a"])).len(), 701, "what was changed in place has no index");
    let rules: Rules = Vec::from(rules).into();
    let names = |call: &Subject<'_>| rules.near(call).iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&writing(&["/w/a", "/w/kept-7x"])), ["any"]);
    assert_eq!(names(&writing(&["/w/a", "/w/kept-7/x/y"])), ["path", "any"]);
    assert_eq!(names(&Subject { tool: Some("t3"), ..writing(&["/w/kept-7"]) }), ["path", "tool", "any"]);
    let started = |commands: &[&'static str]| Subject {
        programs: Some(commands.iter().filter_map(|command| command.split(' ').next()).collect()),
        commands: Some(commands.to_vec()),
        ..writing(&[])
    };
    assert_eq!(names(&started(&["p3 pull"])), ["program", "subcommand", "any"]);
    assert_eq!(names(&started(&["p3", "p4 push"])), ["program", "program", "subcommand", "any"]);
    let unknown = Subject { tool: None, paths: None, programs: None, commands: None, ..writing(&[]) };
    assert_eq!(names(&unknown).len(), 701, "what is not known may be any");
}

#[test]
fn a_rule_may_look_at_the_label_of_the_session() {
    let mut t = TestSession::new();
    let tainted = (Field::LabelIntegrity, Test::Equal("untrusted".into()));
    t.agent().rules = vec![rule("tainted", RuleVerdict::Deny, &[tainted])].into();
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
    t.agent().rules = vec![Rule { line: 40, unless, ..rule("large", RuleVerdict::Deny, &[large, owner]) }].into();
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
                entry: None,
                packages: None,
                provenance: None,
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
                entry: None,
                packages: None,
                provenance: None,
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
    let number = prop::collection::vec((order.clone(), 0u64..4), 1..3).prop_map(Test::Number);
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
        word(Field::Reversible, &["true", "false"]),
        word(Field::LabelConf, &["public", "internal", "secret"]),
        word(Field::LabelIntegrity, &["untrusted", "trusted"]),
        word(Field::Mode, &["normal", "dry_run", "read_only"]),
        word(Field::Seen, &["never", "allowed", "approved"]),
        word(Field::Speaks, &["human", "program"]),
        word(Field::Tier, &["full", "copy"]),
        word(Field::Source, &["config", "tool", "memory"]),
        word(Field::Audience, &["home", "public"]),
        word(Field::Provenance, &["person", "created", "unknown"]),
        texts(&["person", "list*"]).prop_map(|globs| (Field::Provenance, Test::SubsetOf(globs))),
        texts(&["tool", "m*"]).prop_map(|globs| (Field::Source, Test::Intersects(globs))),
        word(Field::Program, &["git", "ls", "timeout"]),
        word(Field::Subcommand, &["git push", "git status", "ls"]),
        texts(&["git *", "ls"]).prop_map(|globs| (Field::Subcommand, Test::SubsetOf(globs))),
        path.prop_map(|test| (Field::Path, test)),
        (select(vec![Field::BytesOut, Field::Port, Field::UrlBytes]), number),
        word(Field::Recipient, &["a@x.test", "b@x.test"]),
        prop::collection::vec((order.clone(), 0u64..4), 1..3).prop_map(|bounds| {
            let amount = |hundreds| Money { hundredths: hundreds * 100, currency: None };
            (Field::Amount, Test::Amount(bounds.into_iter().map(|(order, bound)| (order, amount(bound))).collect()))
        }),
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

/// What a call of a declared tool is told of whom it reaches and of how much it is.
static VALUED: LazyLock<[Atom; 2]> =
    LazyLock::new(|| [Atom(Kind::Email, "a@x.test".into()), Atom(Kind::Number, "2".into())]);

/// Where what a call chooses comes from.
static CHOSEN: LazyLock<[BTreeSet<Provenance>; 5]> = LazyLock::new(|| {
    use Provenance::{Created, Listed, Person, Unknown};
    [vec![], vec![Person], vec![Unknown], vec![Person, Unknown], vec![Listed, Created]].map(BTreeSet::from_iter)
});

/// What a call starts.
const STARTED: [&[&str]; 5] = [&[], &["ls"], &["git push"], &["git status", "ls"], &["timeout", "git status"]];

pub fn any_subject() -> impl Strategy<Value = Subject<'static>> {
    let paths = subsequence(vec!["/w", "/w/a", "/w/b", "/x", "/x/y/z"], 0..4);
    let classes = select(vec![EffectClass::Read, EffectClass::Write, EffectClass::Execute, EffectClass::Send]);
    let names = (select(vec!["main", "other"]), select(vec!["ann", "bob"]), select(vec!["api", "chat"]));
    let tool = select(vec!["read", "write", "mail"]);
    let role = select(vec![Role::Owner, Role::User]);
    let conf = select(vec![Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret]);
    let seen = select(vec![None, Some(Seen::Never), Some(Seen::Allowed), Some(Seen::Approved)]);
    let tier = (
        select(vec![None, Some(Tier::Full), Some(Tier::Copy)]),
        select(&STARTED[..]),
        (subsequence(Source::ALL.to_vec(), 0..4), 0..CHOSEN.len()),
        any::<bool>(),
    );
    let tier = (tier, (select(WorkMode::ALL.to_vec()), seen, select(Speaks::ALL.to_vec())));
    let label = (conf, select(vec![Integrity::Untrusted, Integrity::Trusted]), tier);
    let to = (select(vec!["a.test", "b.test", "test"]), 0u16..4, select(vec!["/", "/v1", "/v1/a"]), 0u64..4).prop_map(
        |(host, port, path, url_bytes)| {
            let (host, path, method) = (Some(host), Some(path), Some(Method::Post));
            Going::To(To { host, port: Some(port), method, path, url_bytes: Some(url_bytes) })
        },
    );
    let going = prop_oneof![Just(Going::Nowhere), to];
    let size = (0u64..4, select(vec![0usize, 1, 2]));
    (names, tool, role, classes, paths, (size, going), NOON..NOON + 24 * HOUR, label).prop_map(
        |(
            (agent, principal, channel),
            tool,
            role,
            class,
            paths,
            ((bytes_out, values), going),
            now,
            (conf, integrity, ((tier, started, (sources, chosen), reversible), (mode, seen, speaks))),
        )| {
            let values: &[Atom] = VALUED.get(..values).unwrap();
            Subject {
                agent: Some(agent),
                principal: Some(principal),
                role: Some(role),
                speaks: Some(speaks),
                channel: Some(channel),
                tool: Some(tool),
                class: Some(class),
                reversible: Some(reversible),
                tier: Some(tier),
                programs: Some(started.iter().filter_map(|command| command.split(' ').next()).collect()),
                commands: Some(started.to_vec()),
                sources: Some(sources.into_iter().collect()),
                provenance: CHOSEN.get(chosen),
                // As if each place were declared by its port.
                audience: Some(match going {
                    Going::To(To { port: Some(port), .. }) => vec![Audience::ALL[usize::from(port)]],
                    _ => Vec::new(),
                }),
                paths: Some(paths),
                bytes_out: Some(bytes_out),
                values: Some(values),
                going,
                git: With::None,
                now: Some(now),
                conf: Some(conf),
                integrity: Some(integrity),
                mode: Some(mode),
                seen: Some(seen),
            }
        },
    )
}

/// As many as [`forget`] knows.
pub const FACTS: usize = 28;

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
        18 => subject.values = None,
        19 => subject.seen = None,
        20 => subject.speaks = None,
        21 => subject.programs = None,
        22 => subject.commands = None,
        23 => subject.sources = None,
        24 => subject.audience = None,
        25 => subject.reversible = None,
        26 => subject.provenance = None,
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
        forgotten in prop::collection::vec(0..FACTS, 1..5),
    ) {
        let mut less = whole.clone();
        forgotten.into_iter().for_each(|fact| forget(&mut less, fact));
        let (before, after) = (ruling(&rules, &whole), ruling(&rules, &less));
        prop_assert!(after.verdict >= before.verdict, "{before:?} became {after:?}");
    }

    /// The exception of a deny or an ask only ever takes from what it matches, that of an allow too.
    #[test]
    fn the_rules_near_a_call_say_what_all_of_them_say(
        rules in prop::collection::vec(any_rule(), 0..12), mut call in any_subject(), forgotten in 0..FACTS,
    ) {
        let known: Rules = rules.clone().into();
        for _ in 0..2 {
            prop_assert_eq!(ruling(known.near(&call), &call), ruling(&rules, &call));
            let all: Vec<&Rule> = rules.iter().filter(|rule| rule.matches(&call)).collect();
            let near: Vec<&Rule> = known.near(&call).into_iter().filter(|rule| rule.matches(&call)).collect();
            prop_assert_eq!(near, all);
            forget(&mut call, forgotten);
        }
    }

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
