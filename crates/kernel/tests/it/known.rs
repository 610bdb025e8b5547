//! Values that a person named by something else than their own form, and what somebody would do who can put names
//! into a list.
use backstay_kernel::Input;
use backstay_kernel::effect::{CallRef, Effect, Outcome};
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Choice, Chosen, Flow, Lists, Named, Sources, Values, Warrant, choices, named, wanted};
use backstay_kernel::id::{EffectId, RepeatKey, Seq};
use backstay_kernel::label::{Label, Source};
use backstay_kernel::limits::{CREATED_MAX, LOOKUPS_MAX};
use backstay_kernel::record::{Decision, Mode, Planned, Reason, Record, Verdict};
use backstay_kernel::rule::{Field, RuleVerdict, Test};
use backstay_kernel::session::{Found, State};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Idempotency, Known, Listing, Manifest, Name};
use backstay_kernel::words::{Atom, Kind, Sign, Typed, extract, quotes};

use crate::harness::{TestSession, body, rule, tuple, warrant};

fn listing(unquoted: bool) -> Listing {
    Listing {
        tool: "list".into(),
        arguments: "{}".into(),
        list: "/people".into(),
        name: "/name".into(),
        value: "/key".into(),
        sign: Sign::Quoted,
        unquoted,
    }
}

fn names(entries: &[(&str, &str)]) -> Vec<Name> {
    entries.iter().map(|(name, value)| Name { name: (*name).into(), value: (*value).into() }).collect()
}

/// Whether a message names this value of the argument `to` by what is known of it.
fn passes(message: &str, kind: Kind, value: &str, known: &[Known], lists: &Lists) -> bool {
    passes_of(EffectClass::Send, message, kind, value, known, lists)
}

fn passes_of(class: EffectClass, message: &str, kind: Kind, value: &str, known: &[Known], lists: &Lists) -> bool {
    let t = TestSession::new();
    let mut manifest: Manifest = t.policy.tools["mail"].clone();
    let authority = ArgumentRole::Authority(kind);
    manifest.arguments = vec![("to".into(), authority), ("with".into(), authority)];
    manifest.known = known.iter().map(|known| ("to".to_owned(), known.clone())).collect();
    let arguments = format!(r#"{{"to":{value}}}"#);
    let values = Values::read(&manifest, &arguments);
    let atoms = extract(message, &quotes(message));
    let stored: Vec<Atom> = atoms.iter().filter(|atom| atom.0 != Kind::Words).cloned().collect();
    let facts = Facts::new(class, Vec::new());
    let (messages, words) = ([(Seq(2), stored)], [atoms]);
    let sources = Sources { messages: &messages, words: &words, known: Some((&manifest, lists)), wishes: &[] };
    named(&t.session, Seq(9), &facts, &t.policy, (&values, &tuple(&values, facts.class)), &sources).warrant.is_some()
}

const PEOPLE: [(&str, &str); 5] =
    [("Alice Moore", "u1"), ("Bob", "u2"), ("general", "c1"), ("External_0", "c2"), ("team-9", "c3")];

/// (the list, the message, the value, where it passes: with no stranger in the list (n), or in one whose names are
/// told by quotes (q), by @ or by #)
#[test]
fn a_name_stands_for_a_value_only_where_the_message_says_it_and_nobody_could_have_put_it_there() {
    let plus = |more: &[(&'static str, &'static str)]| [&PEOPLE[..], more].concat();
    let all = PEOPLE.to_vec();
    let rows = [
        // Whom the message names, in each way of naming.
        (&all, "write to Bob", r#""u2""#, "n"),
        (&all, "write to \"Bob\"", r#""u2""#, "nq"),
        (&all, "write to @Bob please", r#""u2""#, "n@"),
        (&all, "post in #general", r#""c1""#, "n#"),
        (&all, "post in 'general'", r#""c1""#, "nq"),
        (&all, "tell Alice Moore about it", r#""u1""#, "n"),
        (&all, "post in External_0 now", r#""c2""#, "n"),
        (&all, "post in team-9", r#""c3""#, "n"),
        // Another one, a part, more than the name, nobody at all.
        (&all, "write to Bob", r#""u1""#, ""),
        (&all, "write to Bob", r#""Bob""#, ""),
        (&all, "write to Bob", r#""u9""#, ""),
        (&all, "tell Alice about it", r#""u1""#, ""),
        (&all, "tell Alice Moorefield", r#""u1""#, ""),
        (&all, "tell alice moore", r#""u1""#, ""),
        (&all, "write to \"Bobby\"", r#""u2""#, ""),
        (&all, "do not write to Bob", r#""u2""#, ""),
        (&all, "> write to \"Bob\"", r#""u2""#, ""),
        (&all, "", r#""u2""#, ""),
        // A word that people use is no name, nor what begins a sentence.
        (&all, "a general remark", r#""c1""#, ""),
        (&all, "Bob wrote", r#""u2""#, ""),
        (&all, "Read it. Bob wrote", r#""u2""#, ""),
        (&all, "first: 1. Bob wrote", r#""u2""#, ""),
        // Two names: which one was meant nobody knows.
        (&all, "tell Alice Moore what Bob wrote", r#""u1""#, ""),
        (&all, "tell \"Bob\" and \"general\"", r#""u2""#, ""),
        (&all, "tell \"Bob\" and \"general\"", r#"["u2","c1"]"#, "nq"),
        (&all, "tell \"Bob\" and \"general\"", r#"["u2","c1","u1"]"#, ""),
        (&all, "tell \"Bob\"", r#"[]"#, ""),
        // What somebody adds who means to be taken for another: a second one, in the same or nearly the same letters.
        (&plus(&[("Bob", "evil")]), "write to \"Bob\"", r#""u2""#, ""),
        (&plus(&[("Bob", "evil")]), "write to \"Bob\"", r#""evil""#, ""),
        (&plus(&[("BOB", "evil")]), "write to \"Bob\"", r#""u2""#, ""),
        (&plus(&[(" Bob.", "evil")]), "write to \"Bob\"", r#""u2""#, ""),
        (&plus(&[("B\u{200b}ob", "evil")]), "write to \"Bob\"", r#""u2""#, ""),
        (&plus(&[("Ｂｏｂ", "evil")]), "write to \"Bob\"", r#""u2""#, ""),
        (&plus(&[("B\u{43e}b", "evil")]), "write to \"Bob\"", r#""evil""#, ""),
        (&plus(&[("B\u{43e}b", "evil")]), "write to \"B\u{43e}b\"", r#""evil""#, ""),
        (&plus(&[("B\u{202e}ob", "evil")]), "write to \"Bob\"", r#""evil""#, ""),
        // The same entry twice says nothing new.
        (&plus(&[("Bob", "u2")]), "write to \"Bob\"", r#""u2""#, "nq"),
        // A word of the message as a name, and a second name for somebody else's value.
        (&plus(&[("the", "evil")]), "write the summary", r#""evil""#, ""),
        (&plus(&[("summary", "evil")]), "write the summary", r#""evil""#, ""),
        (&plus(&[("Write", "evil")]), "Write the summary", r#""evil""#, ""),
        (&plus(&[("a", "evil")]), "write 'a' summary", r#""u2""#, ""),
        (&plus(&[("I", "evil")]), "as I said", r#""evil""#, ""),
        (&plus(&[("2026", "evil")]), "in 2026 it was", r#""evil""#, ""),
        (&plus(&[("summary", "u2")]), "write the 'summary'", r#""u2""#, ""),
        (&plus(&[("Agenda", "u2")]), "write the 'Agenda'", r#""u2""#, ""),
        (&plus(&[("to Bob", "evil")]), "write to Bob", r#""evil""#, ""),
        (&plus(&[("write to Bob", "evil")]), "write to Bob", r#""evil""#, ""),
        (&plus(&[("", "evil")]), "write to Bob", r#""evil""#, ""),
        (&plus(&[(" ", "evil")]), "write to \"Bob\"", r#""evil""#, ""),
        (&plus(&[("\"Bob\"", "evil")]), "write to \"Bob\"", r#""evil""#, ""),
        // What a list may do is to ask.
        (&plus(&[("Project", "evil")]), "tell Bob of Project", r#""u2""#, ""),
    ];
    for (list, message, value, passing) in rows {
        passes_where(list, message, value, passing);
    }
}

/// A stranger who is called as something that the message speaks of, in the sign of another list or in its own, and
/// somebody of the list whom it names in whatever other way.
#[test]
fn a_stranger_who_is_called_as_what_a_message_speaks_of_is_not_chosen_by_it() {
    let plus = |name, value| [&PEOPLE[..], &[(name, value)]].concat();
    let rows = [
        (plus("random", "evil"), "Summarise #random for me", r#""evil""#, "n#"),
        (plus("random", "evil"), "Summarise #random for Bob", r#""evil""#, ""),
        (plus("random", "evil"), "Summarise #random for bob's team", r#""evil""#, "n"),
        (plus("random", "evil"), "Summarise #random for u2", r#""evil""#, "n"),
        (plus("Q3 report", "evil"), "Summarise 'Q3 report' for me", r#""evil""#, "nq"),
        (plus("Q3 report", "evil"), "Summarise 'Q3 report' for Bob", r#""evil""#, ""),
        (plus("Q3 report", "evil"), "Summarise 'Q3 report' for @Bob", r#""evil""#, ""),
        (plus("Q3 report", "evil"), "Summarise 'Q3 report' for BOB", r#""evil""#, "n"),
        (plus("Q3 report", "evil"), "Summarise 'Q3 report' for @Bob", r#""u2""#, ""),
        (plus("summary", "evil"), "write the 'summary'", r#""evil""#, "nq"),
        (plus("acme", "evil"), "tell @acme of it", r#""evil""#, "n@"),
        (plus("it", "evil"), "tell @Bob of it", r#""u2""#, "n"),
    ];
    for (list, message, value, passing) in rows {
        passes_where(&list, message, value, passing);
    }
}

fn passes_where(list: &[(&str, &str)], message: &str, value: &str, passing: &str) {
    let signs = [('q', Sign::Quoted), ('@', Sign::At), ('#', Sign::Hash)];
    let signed = signs.map(|(letter, sign)| (letter, Listing { sign, ..listing(false) }));
    for (letter, listing) in signed.into_iter().chain([('n', listing(true))]) {
        let lists = Lists { names: vec![(0, names(list))], created: Vec::new() };
        let known = [Known::Listing(Box::new(listing))];
        let found = passes(message, Kind::QuotedString, value, &known, &lists);
        assert_eq!(found, passing.contains(letter), "{message:?} {value} {letter} {list:?}");
        let none = passes(message, Kind::QuotedString, value, &known, &Lists::default());
        assert!(!none, "without the list nothing passes: {message:?} {value}");
    }
}

/// Where the operator opens a list to unquoted names, a stranger's entry that looks like a name would pass: that is
/// what the key says.
#[test]
fn an_unquoted_list_is_the_operators_word_that_no_stranger_names_himself() {
    let lists = Lists { names: vec![(0, names(&[("Monday", "evil")]))], created: Vec::new() };
    let of = |unquoted| {
        passes(
            "send it on Monday",
            Kind::QuotedString,
            r#""evil""#,
            &[Known::Listing(Box::new(listing(unquoted)))],
            &lists,
        )
    };
    assert!(of(true) && !of(false));
}

#[test]
fn a_value_is_compared_in_the_form_of_its_kind() {
    let lists = Lists { names: vec![(0, names(&[("Sarah Baker", "Sarah.B@Mail.example")]))], created: Vec::new() };
    let known = [Known::Listing(Box::new(listing(true)))];
    let of = |value: &str| passes("lunch with Sarah Baker, ask bob@a.ch too", Kind::Email, value, &known, &lists);
    assert!(of(r#""Sarah.B@mail.EXAMPLE""#) && of(r#"["bob@a.ch","Sarah.B@mail.example"]"#) && of(r#""bob@a.ch""#));
    assert!(!of(r#""sarah.b@mail.example""#) && !of(r#"["Sarah.B@mail.example","eve@a.ch"]"#));
    assert!(!of(r#""Sarah Baker""#) && !of(r#""Sarah <Sarah.B@Mail.example>""#));
}

#[test]
fn a_value_in_its_own_form_is_what_was_chosen_where_a_stranger_could_be_called_so() {
    let list = names(&[("Q3 report", "evil@x.example"), ("Bob", "bob@a.ch")]);
    let lists = Lists { names: vec![(0, list)], created: Vec::new() };
    let of = |message: &str, value: &str, sign| {
        let known = [Known::Listing(Box::new(Listing { sign, ..listing(false) }))];
        passes(message, Kind::Email, value, &known, &lists)
    };
    let evil = r#""evil@x.example""#;
    // On the list or not.
    for to in ["bob@a.ch", "BOB@A.CH", "Bob@a.ch", "eve@b.ch"] {
        assert!(!of(&format!("Send the 'Q3 report' to {to}"), evil, Sign::Quoted), "{to}");
    }
    assert!(of("Send it to 'Bob'", r#""bob@a.ch""#, Sign::Quoted));
    assert!(of("Send it to @Bob and eve@b.ch", r#"["bob@a.ch","eve@b.ch"]"#, Sign::At));
    assert!(!of("Send it to @Bob and eve@b.ch", r#""bob@a.ch""#, Sign::At));
}

#[test]
fn the_operators_own_words_stand_for_a_value_where_no_others_of_them_are_said() {
    let known = [Known::Listed(names(&[("read", "r"), ("view", "r"), ("edit", "rw"), ("full control", "rw")]))];
    let of = |message, value| passes(message, Kind::QuotedString, value, &known, &Lists::default());
    assert!(of("share it with read permissions", r#""r""#) && of("so that they can view or read it", r#""r""#));
    assert!(of("give them full control of it", r#""rw""#));
    assert!(!of("share it with read permissions", r#""rw""#) && !of("to read and edit", r#""r""#));
    assert!(!of("to read and edit", r#""rw""#) && !of("they may not edit it", r#""rw""#) && !of("share it", r#""r""#));
}

#[test]
fn what_these_tools_created_in_the_session_is_its_own() {
    let known = [Known::Created(vec!["make".into()])];
    let of = |value, created: &[(&str, &str)]| {
        let created = created.iter().map(|(tool, id)| ((*tool).to_owned(), (*id).to_owned())).collect();
        let lists = Lists { names: Vec::new(), created };
        passes_of(EffectClass::Write, "share it", Kind::Id, value, &known, &lists)
    };
    assert!(of(r#""f-26""#, &[("make", "f-26")]) && of("26", &[("make", "1"), ("make", "26")]));
    assert!(of(r#"["26","27"]"#, &[("make", "26"), ("make", "27")]));
    assert!(!of("26", &[("make", "2")]) && !of("26", &[("other", "26")]) && !of("26", &[]));
    assert!(!of(r#"["26","13"]"#, &[("make", "26")]) && !of("[]", &[("make", "26")]));
}

#[test]
fn nothing_is_sent_or_spent_by_what_the_session_made_alone() {
    let made = |class, message| {
        let known = [Known::Created(vec!["make".into()])];
        let lists = Lists { names: Vec::new(), created: vec![("make".into(), "f-26".into())] };
        let alone = passes_of(class, message, Kind::Id, r#""f-26""#, &known, &lists);
        (alone, passes_of(class, message, Kind::Id, r#""f-26","with":"u-9""#, &known, &lists))
    };
    for class in [EffectClass::Send, EffectClass::Spend] {
        assert_eq!(made(class, "share it"), (false, false), "nobody said with whom");
        assert_eq!(made(class, "share it with u-9"), (false, true));
        assert_eq!(made(class, "share f-26"), (true, false));
    }
    assert_eq!(made(EffectClass::Write, "write it"), (true, false));
}

#[test]
fn a_list_that_is_not_understood_whole_is_none() {
    let of = |text: &str| listing(false).names(text);
    let good = r#"{"people":[{"name":"Ann","key":7,"more":[]},{"name":"Bob","key":"b"}]}"#;
    assert_eq!(of(good), Some(names(&[("Ann", "7"), ("Bob", "b")])));
    assert_eq!(of(r#"{"people":[]}"#), Some(Vec::new()));
    for bad in [
        "",
        "Ann, Bob",
        r#"{"people":[{"name":"Ann","key":7}"#,
        r#"{"people":{"name":"Ann","key":7}}"#,
        r#"{"people":[{"name":"Ann"}]}"#,
        r#"{"people":[{"name":"Ann","key":7},{"name":null,"key":8}]}"#,
        r#"{"people":[{"name":"Ann","key":7},"Bob"]}"#,
        r#"{"people":[{"name":["Ann"],"key":7}]}"#,
        r#"[{"name":"Ann","key":7}]"#,
    ] {
        assert_eq!(of(bad), None, "{bad}");
    }
    let plain = Listing { list: String::new(), name: String::new(), value: String::new(), ..listing(false) };
    assert_eq!(plain.names(r#"["general","random"]"#), Some(names(&[("general", "general"), ("random", "random")])));
}

#[test]
fn a_list_is_wanted_only_where_it_could_help() {
    let t = TestSession::new();
    let mut manifest = t.policy.tools["mail"].clone();
    let authority = ArgumentRole::Authority(Kind::QuotedString);
    manifest.arguments = vec![("to".into(), authority), ("in".into(), authority), ("why".into(), authority)];
    let list = |argument: &str| {
        let listing = Listing { list: argument.to_owned(), ..listing(false) };
        (argument.to_owned(), Known::Listing(Box::new(listing)))
    };
    manifest.known = vec![list("to"), list("in"), ("to".into(), Known::Created(vec!["make".into()]))];
    let said = |texts: &[&str]| {
        let atoms = texts.iter().map(|text| Atom(Kind::QuotedString, (*text).to_owned()));
        (Seq(2), atoms.collect::<Vec<_>>())
    };
    let of = |arguments: &str, messages: &[(Seq, Vec<Atom>)]| {
        let values = Values::read(&manifest, arguments);
        let words: Vec<_> = messages.iter().map(|(_, atoms)| atoms.clone()).collect();
        let created = vec![("make".to_owned(), "u7".to_owned())];
        let lists = Lists { names: Vec::new(), created };
        wanted(&manifest, &values, messages, (&lists, &words)).iter().map(|list| list.list.clone()).collect::<Vec<_>>()
    };
    let both = r#"{"to":"u1","in":"c1"}"#;
    assert_eq!(of(both, &[said(&[])]), ["in", "to"]);
    assert_eq!(of(both, &[said(&["c1"])]), ["to"]);
    assert_eq!(of(r#"{"to":"u7","in":"c1"}"#, &[said(&[])]), ["in"], "what the session made needs none");
    assert_eq!(of(both, &[said(&[]), said(&["u1", "c1"])]), [""; 0], "one message names all");
    assert_eq!(of(r#"{"to":"u1","why":"w"}"#, &[said(&[])]), [""; 0], "nothing is known of why");
    assert_eq!(of(r#"{"to":"u1","else":1}"#, &[said(&[])]), [""; 0], "nor of what is not declared");
    assert_eq!(of(both, &[]), [""; 0], "in a task that nobody began");
    let values = Values::read(&manifest, both);
    let to = Chosen { argument: "to".into(), atoms: vec![Atom(Kind::QuotedString, "u1".into())] };
    assert!(values.authority().unwrap().contains(&&to));
}

/// A session that has read something, and a call of `mail` that waits to be looked at.
pub fn asking() -> (TestSession, EffectId) {
    let mut t = TestSession::new();
    let mut list = t.policy.tools["read"].clone();
    list.name = "list".into();
    list.idempotency = Idempotency::Idempotent;
    t.policy.tools.insert("list".into(), list);
    t.agent().grants.tools.push("list".into());
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    t.type_in(1);
    t.reply(&[("read", 1)]);
    let read = t.call("read");
    t.done(read, 1);
    t.only_reply(&[("mail", 1)]);
    let call = t.call("mail");
    (t, call)
}

fn lookup(tool: &str, of: EffectId) -> CallRef {
    CallRef { calls: body(50), index: 0, tool: Some(tool.into()), repeat: RepeatKey([u8::try_from(of.0).unwrap(); 8]) }
}

pub fn look_up(t: &mut TestSession, effect: EffectId) -> EffectId {
    let calls = vec![lookup("list", effect)];
    let records = t.tell(Input::LookUp { effect, calls });
    let [Record::Planned(Planned::Lookup { of, .. })] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(*of, effect);
    t.call("list")
}

fn is_looked_at(t: &TestSession, effect: EffectId) -> bool {
    t.open().iter().any(|open| matches!(open, Effect::Inspect { id, .. } if *id == effect))
}

#[test]
fn a_lookup_is_a_call_as_any_other_whose_end_goes_to_the_call_that_waits_for_it() {
    let (mut t, call) = asking();
    assert!(is_looked_at(&t, call));
    let items = t.session.items.len();
    let lookup = look_up(&mut t, call);
    assert!(!is_looked_at(&t, call), "it waits");
    t.settle();
    assert!(matches!(t.effect(lookup).state, State::Started { .. }), "judged, and started by a record");
    assert!(t.start(lookup).is_ok());
    t.crash();
    assert!(t.start(lookup).is_ok(), "it is made again");
    let State::Started { seq: started, .. } = t.effect(lookup).state else { panic!() };
    let (repeat, label) = (RepeatKey([9; 8]), Label::of(Source::Tool));
    let outcome = Outcome::Done { result: body(60), spill: Some(body(61)), repeat, label, created: None };
    t.tell(Input::Ended { effect: lookup, started, outcome, connections: Vec::new() });
    let found = Found { lookup: RepeatKey([u8::try_from(call.0).unwrap(); 8]), list: Some(body(61)) };
    assert_eq!(t.effect(call).found, [found], "all of it, not the part that was shown");
    assert!(is_looked_at(&t, call), "now it can be told what it is");
    assert_eq!(t.session.items.len(), items, "no model is told of it");
    assert!(t.session.repeats.iter().all(|repeat| repeat.call != RepeatKey([u8::try_from(call.0).unwrap(); 8])));
    let again = Input::LookUp { effect: call, calls: vec![super::known::lookup("list", call)] };
    assert!(t.tell(again).is_empty(), "once");
    t.settle();
    assert!(matches!(t.effect(call).state, State::Asked { .. }));
    t.decide(call, false).unwrap();
    t.settle();
    t.reply(&[]);
    assert!(!t.ends()[0].completion.done.contains(&lookup));
    t.assert_paired();
}

#[test]
fn nobody_is_asked_for_leave_to_look_something_up() {
    let asks = rule("ask", RuleVerdict::Ask, &[(Field::Tool, Test::Equal("list".into()))]);
    let denies = rule("deny", RuleVerdict::Deny, &[(Field::Tool, Test::Equal("list".into()))]);
    for rules in [vec![asks], vec![denies]] {
        let (mut t, call) = asking();
        t.agent().rules.extend(rules);
        let lookup = look_up(&mut t, call);
        let records = t.settle();
        let is_denied = |record: &Record| matches!(record, Record::Judged(judged) if judged.effect == lookup && matches!(judged.verdict, Verdict::Deny { .. }));
        assert!(records.iter().any(is_denied), "{records:?}");
        assert!(matches!(t.effect(call).state, State::Asked { .. }), "about the call itself");
        assert_eq!(t.effect(call).found[0].list, None);
    }
    let (mut t, call) = asking();
    t.agent().grants.tools.retain(|tool| tool != "list");
    look_up(&mut t, call);
    t.settle();
    assert!(matches!(&t.effect(call).state, State::Asked { by: Reason::Flow(Flow::UnnamedTarget), .. }));
}

#[test]
fn only_what_reads_and_may_be_made_again_is_looked_up_and_only_so_much() {
    for (class, idempotency, planned) in [
        (EffectClass::Read, Idempotency::Idempotent, 1),
        (EffectClass::Read, Idempotency::Unsafe, 0),
        (EffectClass::Read, Idempotency::Pure, 0),
        (EffectClass::Write, Idempotency::Idempotent, 0),
        (EffectClass::Send, Idempotency::Idempotent, 0),
    ] {
        let (mut t, call) = asking();
        let list = t.policy.tools.get_mut("list").unwrap();
        (list.class, list.idempotency) = (class, idempotency);
        let records = t.tell(Input::LookUp { effect: call, calls: vec![lookup("list", call)] });
        assert_eq!(records.len(), planned, "{class:?} {idempotency:?}");
    }
    let (mut t, call) = asking();
    let many = |count| Input::LookUp { effect: call, calls: vec![lookup("list", call); count] };
    assert!(t.tell(many(LOOKUPS_MAX + 1)).is_empty());
    let before = t.session.turn.as_ref().unwrap().tool_calls;
    assert_eq!(t.tell(many(LOOKUPS_MAX)).len(), LOOKUPS_MAX);
    let turn = t.session.turn.as_ref().unwrap();
    assert_eq!(turn.tool_calls - before, u32::try_from(LOOKUPS_MAX).unwrap(), "the cap on calls counts them");
    assert!(t.tell(Input::LookUp { effect: t.call("list"), calls: vec![lookup("list", call)] }).is_empty());
}

#[test]
fn a_lookup_ends_with_its_turn_and_a_restore_doubts_none() {
    let (mut t, call) = asking();
    let lookup = look_up(&mut t, call);
    t.settle();
    t.cancel();
    assert!(t.session.effects.is_empty(), "{:?}", t.session.effects);
    let completion = &t.ends()[0].completion;
    assert!(!completion.unknown.contains(&lookup) && !completion.not_started.contains(&lookup));
    t.assert_paired();
    let (mut t, call) = asking();
    let lookup = look_up(&mut t, call);
    t.settle();
    t.tell(Input::Lineage { old: 1, new: 2 });
    assert!(t.session.effects.get(&lookup).is_none_or(|open| open.state != State::Doubt));
}

#[test]
fn a_session_remembers_what_it_created_unless_a_person_had_to_choose_it() {
    let creates = |t: &mut TestSession, number: u64| {
        let call = t.call("post");
        let State::Started { seq: started, .. } = t.effect(call).state else { panic!("{:?}", t.effect(call)) };
        let (repeat, label) = (RepeatKey([u8::try_from(number % 200).unwrap(); 8]), Label::NOTHING);
        let outcome =
            Outcome::Done { result: body(60), spill: None, repeat, label, created: Some(body(2_000 + number)) };
        t.tell(Input::Ended { effect: call, started, outcome, connections: Vec::new() });
        t.settle();
    };
    let ids = |t: &TestSession| t.session.created.iter().map(|created| created.id.id).collect::<Vec<_>>();
    let mut t = TestSession::new();
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    t.type_in(1);
    t.reply(&[("post", 1)]);
    creates(&mut t, 0);
    assert_eq!(ids(&t), [2_000]);
    assert_eq!(t.session.created[0].tool, "post");
    // Chosen by nobody who was asked for it by a rule; chosen by a person for what the session had seen.
    t.agent().rules = vec![rule("ask", RuleVerdict::Ask, &[])].into();
    t.policy.epoch += 1;
    for (number, authority, remembered) in [(1u64, false, true), (2, true, false)] {
        let role = if authority { ArgumentRole::Authority(Kind::Email) } else { ArgumentRole::Payload };
        t.policy.tools.get_mut("post").unwrap().arguments = vec![("to".into(), role)];
        t.reply(&[("post", u8::try_from(number + 1).unwrap())]);
        let call = t.call("post");
        t.decide(call, true).unwrap();
        t.settle();
        let is_yes = |record: &Record| matches!(record, Record::Decided { decision: Decision::Approve, .. });
        assert!(t.records.iter().any(is_yes));
        creates(&mut t, number);
        assert_eq!(ids(&t).contains(&(2_000 + number)), remembered, "{number}");
    }
    // So many, and none of a journal that nobody knows.
    t.policy.tools.get_mut("post").unwrap().arguments.clear();
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    t.policy.epoch += 1;
    for number in 0..u64::try_from(CREATED_MAX).unwrap() {
        if t.session.turn.is_none() {
            t.send(1, Mode::Queue);
        }
        t.reply(&[("post", u8::try_from(10 + number).unwrap())]);
        creates(&mut t, 100 + number);
    }
    assert_eq!(t.session.created.len(), CREATED_MAX);
    assert_eq!(ids(&t)[0], 2_100, "the oldest are forgotten");
    t.tell(Input::Lineage { old: 1, new: 2 });
    assert!(t.session.created.is_empty());
}

#[test]
fn a_message_without_values_can_still_name_somebody() {
    let mut t = TestSession::new();
    let typed = Some(Typed { quotes: vec![(0, 3)], atoms: None });
    let message = backstay_kernel::decide::Message { typed, ..t.message(1, Mode::Queue) };
    t.tell(Input::Message(message));
    let said = &t.session.turn.as_ref().unwrap().said;
    assert_eq!((said[0].body, said[0].typed.quotes.as_slice()), (body(1), &[(0, 3)][..]));
}

/// (the value of an argument, the message that names it and how often it is there, in the order of the list)
#[test]
fn what_chooses_is_named_only_where_one_message_names_all_of_it() {
    let t = TestSession::new();
    let mut manifest: Manifest = t.policy.tools["mail"].clone();
    manifest.arguments = vec![("to".into(), ArgumentRole::Authority(Kind::Email))];
    let said = |seq, text| (Seq(seq), extract(text, &quotes(text)));
    let messages = [said(2, "tell ann@x.test"), said(3, "tell bob@x.test"), said(4, "tell ann@x.test, cat@x.test")];
    let facts = Facts::new(EffectClass::Send, Vec::new());
    let of = |arguments: &str| {
        let found = choices(&t.session, (&facts, &Named::default()), &t.policy, (&manifest, arguments), &messages);
        found.into_iter().map(|choice| (choice.said.map(|seq| seq.0), choice.times)).collect::<Vec<_>>()
    };
    for (value, expected) in [
        (r#""ann@x.test""#, vec![(Some(2), 1)]),
        (r#"["ann@x.test","eve@x.test","ann@x.test"]"#, vec![(Some(2), 2), (None, 1)]),
        (r#"[["ann@x.test","eve@x.test"]]"#, vec![(None, 1)]),
        (r#"[["ann@x.test","bob@x.test"]]"#, vec![(None, 1)]),
        (r#"[["ann@x.test","cat@x.test"],["ann@x.test"]]"#, vec![(Some(4), 1), (Some(2), 1)]),
        (r#"[[],{"a":"ann@x.test"}]"#, vec![(None, 1), (None, 1)]),
        // What looks the same in a list is not one value.
        (r#"[["ann@x.test"],"[\"ann@x.test\"]"]"#, vec![(Some(2), 1), (None, 1)]),
    ] {
        assert_eq!(of(&format!(r#"{{"to":{value}}}"#)), expected, "{value}");
    }
}

#[test]
fn a_value_that_a_list_names_is_shown_as_named_where_the_call_was_judged_so() {
    let t = TestSession::new();
    let mut manifest: Manifest = t.policy.tools["mail"].clone();
    manifest.arguments = vec![
        ("to".into(), ArgumentRole::Authority(Kind::Email)),
        ("cc".into(), ArgumentRole::Authority(Kind::Email)),
        ("note".into(), ArgumentRole::Authority(Kind::Number)),
    ];
    manifest.known = vec![("to".into(), Known::Created(vec!["post".into()]))];
    let messages = [(Seq(2), extract("tell Ann 7", &[]))];
    let facts = Facts::new(EffectClass::Send, Vec::new());
    let arguments = r#"{"to":"ann@x.test","cc":"eve@x.test","note":7}"#;
    let of = |warrant: Option<Warrant>| {
        let named = Named { warrant, ..Named::default() };
        let found = choices(&t.session, (&facts, &named), &t.policy, (&manifest, arguments), &messages);
        let told = |choice: Choice| (choice.argument.unwrap(), choice.said.map(|seq| seq.0), choice.is_by_name);
        found.into_iter().map(told).collect::<Vec<_>>()
    };
    let (to, cc, note) = (String::from("to"), String::from("cc"), String::from("note"));
    let unnamed = [(cc.clone(), None, false), (note.clone(), Some(2), false), (to.clone(), None, false)];
    assert_eq!(of(None), unnamed, "nothing is shown as named that the call was not judged by");
    let warrant = warrant(Seq(2), 1);
    assert_eq!(of(Some(warrant)), [(cc, None, false), (note, Some(2), false), (to, Some(2), true)]);
}
