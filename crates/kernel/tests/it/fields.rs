//! Who speaks, how a call is held, what it starts, what the session has taken in and who gets to know: as rules look at it.
use backstay_kernel::decide::{Input, Message};
use backstay_kernel::destination::{Audience, Destination, HostGrant, Method, Reachable};
use backstay_kernel::facts::{Facts, Starts, Tier};
use backstay_kernel::flow::Named as NamedValues;
use backstay_kernel::git::{Git, GitGrant};
use backstay_kernel::home::Speaks;
use backstay_kernel::label::{Source, Sources};
use backstay_kernel::record::{Mode, Reason, Record, Used, Verdict};
use backstay_kernel::rule::{Field, RuleVerdict, Test};
use backstay_kernel::subject::Subject;
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::Url;
use backstay_kernel::words::Typed;

use crate::harness::{OWNER, TestSession, body, rule};

/// Whether a rule of this one condition that allows, and one that denies, matches.
fn matched(field: Field, test: &Test, subject: &Subject<'_>) -> (bool, bool) {
    let of = |verdict| rule("r", verdict, &[(field, test.clone())]).matches(subject);
    (of(RuleVerdict::Allow), of(RuleVerdict::Deny))
}

fn equal(word: &str) -> Test {
    Test::Equal(word.into())
}

fn speaks(t: &TestSession) -> Option<Speaks> {
    let facts = Facts::new(EffectClass::Read, Vec::new());
    let used =
        Subject::of(&t.session, "read", (&facts, &NamedValues::default()), &t.frame()).unwrap().used(Field::Speaks);
    match used {
        Used::Speaks(speaks) => Some(speaks),
        Used::Missing(Field::Speaks) => None,
        other => panic!("{other:?}"),
    }
}

/// Enters at the next step: the call of the step before is done.
fn steered(t: &mut TestSession, typed: Option<Typed>) {
    t.reply(&[("mail", 1)]);
    let message = Message { typed, ..t.message(2, Mode::Steer) };
    t.tell(Input::Message(message));
    let effect = t.call("mail");
    t.decide(effect, true).unwrap();
    t.done(effect, 1);
}

#[test]
fn a_turn_is_a_persons_as_long_as_no_program_has_spoken_in_it() {
    let (human, program) = (Some(Speaks::Human), Some(Speaks::Program));
    let typed = || Some(Typed::default());
    let begun = |is_human: bool| {
        let mut t = TestSession::new();
        if is_human {
            t.type_in(1)
        } else {
            t.say(1)
        };
        t
    };
    assert_eq!(speaks(&TestSession::new()), None);
    assert_eq!((speaks(&begun(true)), speaks(&begun(false))), (human, program));
    for (by_human, then, expected) in
        [(true, typed(), human), (true, None, program), (false, typed(), program), (false, None, program)]
    {
        let mut t = begun(by_human);
        steered(&mut t, then.clone());
        assert_eq!(speaks(&t), expected, "steered: {by_human} {then:?}");
        let mut t = begun(by_human);
        t.reply(&[("question", 1)]);
        let effect = t.call("question");
        t.tell(Input::Answer { effect, body: body(5), by: OWNER.to_owned(), typed: then.clone() });
        assert_eq!(speaks(&t), expected, "answered: {by_human} {then:?}");
        t.settle();
        t.reply(&[]);
        t.type_in(3);
        assert_eq!(speaks(&t), human, "the next turn is another");
    }
    // Whoever quotes a program speaks.
    let mut t = TestSession::new();
    let message = Message { typed: typed(), quoted: vec![body(9)], ..t.message(1, Mode::Queue) };
    t.tell(Input::Message(message));
    assert_eq!(speaks(&t), human);
}

#[test]
fn nobody_knows_who_spoke_in_another_home() {
    let mut t = TestSession::new();
    t.type_in(1);
    let waits = Message { typed: Some(Typed::default()), ..t.message(2, Mode::Queue) };
    t.tell(Input::Message(waits));
    t.tell(Input::Lineage { old: 1, new: 2 });
    assert_eq!(speaks(&t), None);
    t.cancel();
    t.settle();
    assert!(t.session.turn.is_some() && t.session.queue.is_empty(), "the one that waited");
    assert_eq!(speaks(&t), None);
    t.cancel();
    t.settle();
    t.type_in(3);
    assert_eq!(speaks(&t), Some(Speaks::Human), "here somebody heard it");
}

#[test]
fn a_rule_may_look_at_who_speaks() {
    let by_program = |t: &mut TestSession| {
        t.agent().rules = vec![rule("no program", RuleVerdict::Deny, &[(Field::Speaks, equal("program"))])].into();
    };
    for (is_human, denied) in [(true, false), (false, true)] {
        let mut t = TestSession::new();
        by_program(&mut t);
        if is_human {
            t.type_in(1)
        } else {
            t.say(1)
        };
        t.reply(&[("read", 1)]);
        let judged =
            t.records.iter().find_map(|record| if let Record::Judged(judged) = record { Some(judged) } else { None });
        let judged = judged.unwrap();
        assert_eq!(judged.verdict == Verdict::Deny { by: Reason::Rule("no program".into()) }, denied);
        let used = &judged.grounds.as_ref().unwrap().used;
        assert_eq!(used.as_slice(), if denied { &[Used::Speaks(Speaks::Program)][..] } else { &[] });
    }
    let nobody = Subject::default();
    assert_eq!(matched(Field::Speaks, &equal("human"), &nobody), (false, true));
    assert_eq!(matched(Field::Speaks, &Test::NotIn(vec!["program".into()]), &nobody), (false, true));
}

/// What is said of it, or its class tells; of all else nobody knows it, and no allow rests on that.
#[test]
fn whether_a_call_can_be_taken_back_is_what_was_said_or_what_its_class_tells() {
    use EffectClass::{Execute, Read, Send, Spend, Write};
    for (class, said, known) in [
        (Read, None, Some(true)),
        (Read, Some(false), Some(false)),
        (Write, None, None),
        (Write, Some(true), Some(true)),
        (Write, Some(false), Some(false)),
        (Execute, None, None),
        (Send, None, None),
        (Send, Some(true), Some(true)),
        (Send, Some(false), Some(false)),
        (Spend, None, Some(false)),
        (Spend, Some(true), Some(false)),
    ] {
        let facts = Facts { reversible: said, ..Facts::new(class, Vec::new()) };
        let subject = Subject::of_facts(&facts);
        for (word, other) in [("true", true), ("false", false)] {
            let expected = known.map_or((false, true), |known| (known == other, known == other));
            assert_eq!(matched(Field::Reversible, &equal(word), &subject), expected, "{class:?} {said:?} {word}");
        }
        let used = known.map_or(Used::Missing(Field::Reversible), Used::Reversible);
        assert_eq!(subject.used(Field::Reversible), used, "{class:?} {said:?}");
    }
}

#[test]
fn a_tier_is_of_what_runs_and_unknown_where_nobody_said_how() {
    let held = |tier| Facts { tier, ..Facts::new(EffectClass::Read, Vec::new()) };
    for (tier, word, other) in [(Tier::Full, "full", "copy"), (Tier::Copy, "copy", "full")] {
        let facts = held(Some(tier));
        let subject = Subject::of_facts(&facts);
        assert_eq!(matched(Field::Tier, &equal(word), &subject), (true, true), "{word}");
        assert_eq!(matched(Field::Tier, &equal(other), &subject), (false, false), "{word}");
        assert_eq!(subject.used(Field::Tier), Used::Tier);
    }
    let still = held(None);
    let command = Facts::new(EffectClass::Execute, Vec::new());
    let program = Facts { programs: ["cat".to_owned()].into(), ..held(None) };
    for test in [equal("full"), Test::NotIn(vec!["full".into()])] {
        assert_eq!(matched(Field::Tier, &test, &Subject::of_facts(&still)), (false, false), "it runs nothing");
        for facts in [&command, &program] {
            assert_eq!(matched(Field::Tier, &test, &Subject::of_facts(facts)), (false, true), "{facts:?}");
        }
    }
    assert_eq!(Subject::of_facts(&still).used(Field::Tier), Used::Tier);
    assert_eq!(Subject::of_facts(&program).used(Field::Tier), Used::Missing(Field::Tier));
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

/// Of a command, or of whatever else runs here.
fn starting(programs: &[&str], starts: Starts) -> Facts {
    let programs = texts(programs).into();
    Facts { programs, starts, tier: Some(Tier::Full), ..Facts::new(EffectClass::Execute, Vec::new()) }
}

#[test]
fn rules_on_programs_speak_of_each_that_a_call_starts_and_of_its_subcommand() {
    let facts = starting(&["cargo test", "git status", "timeout"], Starts::Commands);
    let any = |all: &[&str]| Test::AnyOf(texts(all));
    for (field, test, allowed, denied) in [
        (Field::Program, equal("git"), false, true),
        (Field::Program, equal("timeout"), false, true),
        (Field::Program, equal("hg"), false, false),
        (Field::Program, any(&["git", "cargo"]), false, true),
        (Field::Program, any(&["git", "cargo", "timeout"]), true, true),
        (Field::Program, Test::NotIn(texts(&["git"])), false, true),
        (Field::Program, Test::Intersects(texts(&["g*"])), true, true),
        (Field::Program, Test::SubsetOf(texts(&["g*"])), false, false),
        (Field::Subcommand, equal("git status"), false, true),
        // Words of one program are none of another, and none without theirs.
        (Field::Subcommand, equal("git test"), false, false),
        (Field::Subcommand, equal("status"), false, false),
        (Field::Subcommand, equal("git"), false, false),
        (Field::Subcommand, any(&["git status", "cargo test"]), false, true),
        (Field::Subcommand, any(&["git status", "cargo test", "timeout"]), true, true),
        (Field::Subcommand, Test::Glob("git *".into()), false, true),
        (Field::Subcommand, Test::SubsetOf(texts(&["git *", "cargo *"])), false, false),
    ] {
        let subject = Subject::of_facts(&facts);
        assert_eq!(matched(field, &test, &subject), (allowed, denied), "{field:?} {test:?}");
        assert_ne!(subject.used(field), Used::Missing(field));
    }
}

#[test]
fn nobody_knows_what_a_shell_or_a_server_starts_and_what_runs_nothing_starts_nothing() {
    let every = [equal("git"), Test::SubsetOf(texts(&["**"])), Test::NotIn(texts(&["git"]))];
    let (shell, server) = (starting(&["sh"], Starts::Unknown), starting(&[], Starts::Unknown));
    let earlier = Facts { tier: None, ..starting(&["git"], Starts::Unknown) };
    let still = Facts::new(EffectClass::Write, Vec::new());
    for (field, test) in
        [Field::Program, Field::Subcommand].into_iter().flat_map(|field| every.clone().map(|test| (field, test)))
    {
        for facts in [&shell, &server, &earlier] {
            let subject = Subject::of_facts(facts);
            assert_eq!(matched(field, &test, &subject), (false, true), "{field:?} {test:?} {facts:?}");
            assert_eq!(subject.used(field), Used::Missing(field));
        }
        let subject = Subject::of_facts(&still);
        assert_eq!(matched(field, &test, &subject), (false, false), "{field:?} {test:?}");
        assert_ne!(subject.used(field), Used::Missing(field));
    }
    // The program is known, and what its words mean is not.
    let declared = starting(&["pay"], Starts::Programs);
    let subject = Subject::of_facts(&declared);
    assert_eq!(matched(Field::Program, &equal("pay"), &subject), (true, true));
    assert_eq!(matched(Field::Program, &equal("git"), &subject), (false, false));
    assert_eq!(matched(Field::Subcommand, &equal("git push"), &subject), (false, true));
    assert_eq!(subject.used(Field::Subcommand), Used::Missing(Field::Subcommand));
}

#[test]
fn a_rule_on_sources_speaks_of_all_that_has_entered() {
    use Source::{Config, Model, Principal, Tool};
    let sources = Some([Config, Principal, Model, Tool].into_iter().collect::<Sources>());
    let seen = Subject { sources, ..Subject::default() };
    let any = |all: &[&str]| Test::AnyOf(texts(all));
    for (test, allowed, denied) in [
        (equal("tool"), false, true),
        (equal("memory"), false, false),
        (any(&["config", "principal", "model"]), false, true),
        (any(&["config", "principal", "model", "tool"]), true, true),
        (Test::NotIn(texts(&["elsewhere"])), true, true),
        (Test::NotIn(texts(&["tool"])), false, true),
        (Test::Intersects(texts(&["tool", "memory"])), true, true),
        (Test::Intersects(texts(&["memory", "elsewhere"])), false, false),
        (Test::SubsetOf(texts(&["config", "principal", "model"])), false, false),
        (Test::SubsetOf(texts(&["config", "principal", "model", "tool"])), true, true),
    ] {
        assert_eq!(matched(Field::Source, &test, &seen), (allowed, denied), "{test:?}");
        assert_eq!(matched(Field::Source, &test, &Subject::default()), (false, true), "nobody knows: {test:?}");
    }
    let mut t = TestSession::new();
    t.agent().rules =
        vec![rule("no replies", RuleVerdict::Deny, &[(Field::Source, Test::Intersects(texts(&["mod*"])))])].into();
    t.type_in(1);
    t.reply(&[("read", 1)]);
    let Some(Record::Judged(judged)) = t.records.iter().find(|record| matches!(record, Record::Judged(_))) else {
        panic!()
    };
    assert_eq!(judged.verdict, Verdict::Deny { by: Reason::Rule("no replies".into()) });
    let used = &judged.grounds.as_ref().unwrap().used;
    assert_eq!(used.as_slice(), [Used::Source([Config, Principal, Model].into_iter().collect())]);
}

fn grant(host: &str, path_prefix: &str, audience: Audience) -> HostGrant {
    HostGrant {
        host: host.to_owned(),
        port: 443,
        methods: vec![Method::Get, Method::Post],
        path_prefix: path_prefix.to_owned(),
        allow_private: Vec::new(),
        audience,
        secrets: false,
        tunnel: false,
    }
}

fn to(url: &str) -> Facts {
    let to = Destination::of(&Url::read(url).unwrap(), Method::Get, 0);
    Facts { destination: Some(to), ..Facts::new(EffectClass::Read, Vec::new()) }
}

#[test]
fn who_gets_to_know_is_what_was_declared_of_where_a_call_goes() {
    use Audience::{Home, Named, Own, Public};
    let mut t = TestSession::new();
    t.policy.tools.get_mut("post").unwrap().remote = true;
    t.policy.tools.get_mut("post").unwrap().audience = Own;
    t.agent().grants.hosts =
        vec![grant("a.test", "/", Named), grant("a.test", "/x", Public), grant("b.test", "/", Home)];
    let at = grant("git.test", "/", Home);
    t.agent().grants.git = vec![GitGrant { repo: "git.test/a".to_owned(), at, push: Vec::new() }];
    let network = |hosts: &[&str]| {
        let place =
            |host: &&str| Reachable { host: (*host).into(), port: 443, methods: vec![Method::Get], tunnel: false };
        Facts { network: hosts.iter().map(place).collect(), ..Facts::new(EffectClass::Execute, Vec::new()) }
    };
    let repository = Git { repo: "git.test/a".to_owned(), refs: vec!["HEAD".to_owned()], push: None };
    let fetch = Facts { git: Some(Box::new(repository)), ..to("https://git.test/a") };
    let of = |class| Facts::new(class, Vec::new());
    for (tool, facts, expected) in [
        ("read", to("https://a.test/y"), Some(vec![Named])),
        ("read", to("https://a.test/x/y"), Some(vec![Public])),
        ("read", to("https://b.test/"), Some(vec![Home])),
        ("read", to("https://c.test/"), None),
        ("read", fetch, Some(vec![Home])),
        ("read", network(&["a.test", "b.test"]), Some(vec![Public, Home])),
        ("read", network(&["b.test", "c.test"]), None),
        ("post", to("https://a.test/x"), Some(vec![Own])),
        ("mail", of(EffectClass::Send), Some(vec![Named])),
        ("mail", of(EffectClass::Spend), Some(vec![Named])),
        ("nothing", of(EffectClass::Send), None),
        ("mail", of(EffectClass::Execute), Some(vec![])),
        ("mail", of(EffectClass::Write), Some(vec![])),
    ] {
        let subject = Subject::of(&t.session, tool, (&facts, &NamedValues::default()), &t.frame()).unwrap().audience;
        assert_eq!(subject, expected, "{tool} {facts:?}");
    }
    assert_eq!(Subject::of_facts(&to("https://a.test/")).audience, None);
}

#[test]
fn a_rule_on_audiences_speaks_of_every_place() {
    use Audience::{Home, Public};
    let of = |audience: Option<&[Audience]>| Subject { audience: audience.map(<[_]>::to_vec), ..Subject::default() };
    let both: &[Audience] = &[Home, Public];
    for (audience, test, allowed, denied) in [
        (Some(both), equal("public"), false, true),
        (Some(both), equal("self"), false, false),
        (Some(both), Test::AnyOf(texts(&["home", "public"])), true, true),
        (Some(both), Test::NotIn(texts(&["public"])), false, true),
        (Some(both), Test::SubsetOf(texts(&["home", "named"])), false, false),
        (Some(&[Home]), equal("home"), true, true),
        (Some(&[]), Test::NotIn(texts(&["public"])), false, false),
        (None, equal("home"), false, true),
    ] {
        let subject = of(audience);
        assert_eq!(matched(Field::Audience, &test, &subject), (allowed, denied), "{audience:?} {test:?}");
        let used = audience.map_or(Used::Missing(Field::Audience), |all| Used::Audience(all.to_vec()));
        assert_eq!(subject.used(Field::Audience), used);
    }
}
