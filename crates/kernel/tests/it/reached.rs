//! Where an agent's calls have been, and what a rule and a person know of it.
use std::sync::Arc;

use backstay_kernel::destination::{Destination, Method, Reachable};
use backstay_kernel::facts::{Addressed, Facts};
use backstay_kernel::flow::addressed;
use backstay_kernel::home::{Home, HomeInput, HomeRecord, Speaks, apply, decide};
use backstay_kernel::id::{Seq, SessionId};
use backstay_kernel::limits::REACHED_MAX;
use backstay_kernel::reached::{Places, places, reach};
use backstay_kernel::record::Verdict;
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test, Who};
use backstay_kernel::tool::{ArgumentRole, EffectClass};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Atom, Kind};

use crate::harness::{OWNER, TestSession, rule};

const SESSION: SessionId = SessionId([7; 10]);

fn mail(to: &[&str], more: bool) -> Facts {
    let values = to.iter().map(|to| Atom::of(Kind::Email, to).unwrap()).collect();
    let addressed = Some(Box::new(Addressed { values, more }));
    Facts { declared: Some(Box::default()), addressed, ..Facts::new(EffectClass::Send, Vec::new()) }
}

fn to(place: &str, by_person: bool) -> HomeInput {
    HomeInput::Reach { agent: "main".into(), places: vec![place.into()], by_person, session: SESSION, effect: Seq(8) }
}

#[test]
fn a_call_leads_to_hosts_people_and_accounts_or_to_what_its_tool_is() {
    let url = Url::read("https://a.test/x").unwrap();
    let request =
        Facts { destination: Some(Destination::of(&url, Method::Get, 0)), ..Facts::new(EffectClass::Read, Vec::new()) };
    let network = ["b.test", "a.test"].map(|host| Reachable {
        host: host.into(),
        port: 8080,
        methods: vec![Method::Get],
        tunnel: false,
    });
    let command = Facts { network: network.into(), ..Facts::new(EffectClass::Execute, Vec::new()) };
    let paying = Facts {
        addressed: Some(Box::new(Addressed {
            values: vec![
                Atom::of(Kind::Account, "CH9300762011623852957").unwrap(),
                Atom::of(Kind::Number, "5").unwrap(),
            ],
            more: false,
        })),
        ..mail(&[], false)
    };
    for (facts, expected) in [
        (request, Some(vec!["host a.test:443"])),
        (command, Some(vec!["host a.test:8080", "host b.test:8080"])),
        (mail(&["b@x.test", "a@x.test", "b@x.test"], false), Some(vec!["email a@x.test", "email b@x.test"])),
        (mail(&["a@x.test"], true), None),
        (paying, Some(vec!["account CH9300762011623852957"])),
        (mail(&[], false), Some(vec!["tool post"])),
        (Facts::new(EffectClass::Spend, Vec::new()), Some(vec!["tool post"])),
        (Facts::new(EffectClass::Write, Vec::new()), Some(vec![])),
        (Facts::new(EffectClass::Execute, Vec::new()), Some(vec![])),
    ] {
        let found = places("post", &facts);
        assert_eq!(found.as_ref().map(|all| all.iter().map(String::as_str).collect()), expected, "{facts:?}");
    }
}

#[test]
fn rules_look_at_the_least_known_of_where_a_call_leads() {
    let known = Places::from([("email a@x.test".into(), false), ("email b@x.test".into(), true)]);
    let mut t = TestSession::new();
    t.reached = Arc::new(known);
    let named = backstay_kernel::flow::Named::default();
    let seen = |facts: &Facts, word: &str, verdict| {
        let subject = backstay_kernel::subject::Subject::of(&t.session, "post", (facts, &named), &t.frame()).unwrap();
        rule("r", verdict, &[(Field::Seen, Test::Equal(word.into()))]).matches(&subject)
    };
    for (to, word) in [
        (&["a@x.test"][..], "allowed"),
        (&["b@x.test"], "approved"),
        (&["c@x.test"], "never"),
        (&["a@x.test", "b@x.test"], "allowed"),
        (&["a@x.test", "c@x.test"], "never"),
    ] {
        for other in ["never", "allowed", "approved"] {
            for verdict in [RuleVerdict::Allow, RuleVerdict::Deny] {
                assert_eq!(seen(&mail(to, false), other, verdict), other == word, "{to:?} {other} {verdict:?}");
            }
        }
    }
    let (nowhere, unknown) = (Facts::new(EffectClass::Write, Vec::new()), mail(&["a@x.test"], true));
    for word in ["never", "allowed", "approved"] {
        assert!(!seen(&nowhere, word, RuleVerdict::Allow) && !seen(&nowhere, word, RuleVerdict::Deny), "{word}");
        assert!(!seen(&unknown, word, RuleVerdict::Allow) && seen(&unknown, word, RuleVerdict::Deny), "{word}");
    }
}

#[test]
fn a_home_notes_a_place_once_and_once_more_with_a_persons_yes_and_only_so_many() {
    let mut home = Home::default();
    let mut note = |input| {
        let records = decide(&home, input).unwrap();
        records.iter().for_each(|record| apply(&mut home, record));
        records.len()
    };
    let steps = [
        ("a", false, 1),
        ("a", false, 0),
        ("a", true, 1),
        ("a", true, 0),
        ("a", false, 0),
        ("b", true, 1),
        ("b", false, 0),
    ];
    for (place, by_person, records) in steps {
        assert_eq!(note(to(place, by_person)), records, "{place} {by_person}");
    }
    let known: Vec<_> = home.reached["main"].iter().map(|(place, yes)| (place.clone(), *yes)).collect();
    assert_eq!(known, [("a".to_owned(), true), ("b".to_owned(), true)]);
    let many: Vec<String> = (0..REACHED_MAX).map(|number| format!("p{number}")).collect();
    let input =
        HomeInput::Reach { agent: "main".into(), places: many, by_person: false, session: SESSION, effect: Seq(8) };
    for record in decide(&home, input).unwrap() {
        apply(&mut home, &record);
    }
    assert_eq!(home.reached["main"].len(), REACHED_MAX);
    assert!(decide(&home, to("z", true)).unwrap().is_empty(), "there is no room for it");
    assert_eq!(decide(&home, to("p1", true)).unwrap().len(), 1, "what is known may become approved");
    let other = HomeInput::Reach {
        agent: "other".into(),
        places: vec!["a".into()],
        by_person: false,
        session: SESSION,
        effect: Seq(8),
    };
    assert_eq!(decide(&home, other).unwrap().len(), 1, "of another agent nothing is known");
}

/// Many may have to say yes, and a person must be among them.
#[test]
fn nobody_is_known_by_a_programs_yes() {
    use Speaks::{Human, Program};
    for (quorum, answers, expected) in [
        (1, &[Program][..], false),
        (1, &[Human], true),
        (2, &[Program, Program], false),
        (2, &[Program, Human], true),
        (2, &[Human, Program], true),
    ] {
        let mut t = TestSession::new();
        let ask = rule("ask", RuleVerdict::Ask, &[]);
        let who = Who::Principals(vec![OWNER.into(), "bea".into()]);
        let approvers = Approvers { quorum, ..who.into() };
        t.agent().rules = vec![Rule { approvers, ..ask }].into();
        t.type_in(1);
        t.reply(&[("mail", 1)]);
        let call = t.call("mail");
        for (by, speaks) in [OWNER, "bea"].into_iter().zip(answers) {
            t.decide_as(call, true, (by, *speaks)).unwrap();
        }
        t.settle();
        let (before, from) = (t.session.clone(), t.records.len());
        t.done(call, 1);
        let found = t.records[from..].iter().find_map(|record| reach(&before, record));
        let Some(HomeInput::Reach { by_person, .. }) = found else { panic!("{found:?}") };
        assert_eq!(by_person, expected, "{quorum} {answers:?}");
    }
}

/// A yes to one payee is none to another, though one server or one tool pays them all.
#[test]
fn the_place_of_a_call_is_whom_it_reaches_and_not_what_reaches_them() {
    use ArgumentRole::{Authority, Payload, Selector};
    let url = Url::read("https://server.test/mcp").unwrap();
    let server = || Some(Destination::of(&url, Method::Post, 0));
    let mut manifest = TestSession::new().policy.tools["mail"].clone();
    for (role, one, other) in [
        (Authority(Kind::Id), "\"u4812\"", "\"u9999\""),
        (Authority(Kind::Url), "\"https://a.test/x\"", "\"https://a.test/y\""),
        (Authority(Kind::Host), "\"a.test\"", "\"b.test\""),
        (Authority(Kind::Email), "\"a@x.test\"", "\"b@x.test\""),
        (Authority(Kind::Account), "\"CH9300762011623852957\"", "\"DE89370400440532013000\""),
        (Selector, "\"the first\"", "\"the second\""),
        (Selector, "1", "2"),
    ] {
        manifest.arguments = vec![("payee".into(), role), ("other".into(), role), ("text".into(), Payload)];
        for class in [EffectClass::Send, EffectClass::Spend] {
            let of = |tool: &str, arguments: String| {
                let addressed = addressed(&manifest, class, &arguments).map(Box::new);
                let facts = Facts::new(class, Vec::new());
                places(tool, &Facts { destination: server(), declared: Some(Box::default()), addressed, ..facts })
            };
            let to = |value: &str| of("pay", format!("{{\"payee\":{value},\"text\":\"hello\"}}")).unwrap();
            assert_ne!(to(one), to(other), "{role:?} {class:?}");
            assert_eq!((to(one), to(one).len()), (of("pay", format!("{{\"payee\":{one}}}")).unwrap(), 2));
            let several = of("pay", format!("{{\"payee\":{one},\"other\":{other}}}")).unwrap();
            assert!(several.len() == 3 && to(one).iter().all(|place| several.contains(place)), "{several:?}");
        }
    }
    // What is an id here is somebody else there.
    manifest.arguments = vec![("payee".into(), Authority(Kind::Id)), ("which".into(), Selector)];
    let facts = |arguments: &str| Facts {
        addressed: addressed(&manifest, EffectClass::Spend, arguments).map(Box::new),
        ..Facts::new(EffectClass::Spend, Vec::new())
    };
    assert_ne!(places("pay", &facts(r#"{"payee":"1"}"#)), places("give", &facts(r#"{"payee":"1"}"#)));
    assert_ne!(places("pay", &facts(r#"{"payee":"1"}"#)), places("pay", &facts(r#"{"which":"1"}"#)));
    assert_eq!(places("pay", &facts(r#"{"payee":{"id":"1"}}"#)), None);
    // Whoever that is, a rule on people cannot tell.
    let deny = rule("eve", RuleVerdict::Deny, &[(Field::Recipient, Test::Equal("eve@x.test".into()))]);
    let (t, named) = (TestSession::new(), backstay_kernel::flow::Named::default());
    let denies = |facts: &Facts| {
        deny.matches(&backstay_kernel::subject::Subject::of(&t.session, "post", (facts, &named), &t.frame()).unwrap())
    };
    assert!(denies(&facts(r#"{"payee":"1"}"#)) && denies(&facts(r#"{"which":"1"}"#)));
    assert!(!denies(&mail(&["a@x.test"], false)));
    // What is only read by an id reaches nobody.
    assert_eq!(addressed(&manifest, EffectClass::Read, r#"{"payee":"1","which":"2"}"#), None);
}

#[test]
fn only_a_call_that_was_made_has_reached_anything() {
    let mut t = TestSession::new();
    t.agent().rules = vec![rule("ask", RuleVerdict::Ask, &[])].into();
    t.type_in(1);
    for (ends_well, expected) in [(true, true), (false, false)] {
        t.reply(&[("mail", u8::from(ends_well))]);
        let call = t.call("mail");
        t.decide_as(call, true, (OWNER, Speaks::Human)).unwrap();
        t.settle();
        assert!(t.records.iter().any(|record| matches!(record, backstay_kernel::record::Record::Judged(judged) if matches!(judged.verdict, Verdict::Ask { .. }))));
        let before = t.session.clone();
        let from = t.records.len();
        if ends_well {
            t.done(call, 1);
        } else {
            t.failed(call);
        }
        let found: Vec<HomeInput> = t.records[from..].iter().filter_map(|record| reach(&before, record)).collect();
        assert_eq!(found.len(), usize::from(expected), "{ends_well}");
        if let Some(HomeInput::Reach { places, by_person, .. }) = found.first() {
            assert_eq!((places.as_slice(), *by_person), (&["tool mail".to_owned()][..], true));
        }
    }
    let record = HomeRecord::Reached {
        agent: "main".into(),
        places: vec!["a".into()],
        by_person: true,
        session: SESSION,
        effect: Seq(8),
    };
    let mut home = Home::default();
    apply(&mut home, &record);
    assert_eq!(*home.reached["main"], Places::from([("a".into(), true)]));
}
